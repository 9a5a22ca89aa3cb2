//! Failovers of several servers.

use weir_test_redis::{Cluster, Sentinels};

use super::*;

fn at(ports: &[u16], topology: Topology) -> RedisConfig {
    let servers = ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect();
    RedisConfig { topology, servers, ..config(0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_another_primary() {
    let mut servers = Sentinels::start();
    let topology =
        Topology::Sentinel { primary: servers.name().to_owned(), user: None, password_file: None };
    let tier = Tier::over(&at(&servers.ports(), topology)).await;
    tier.works(1).await;
    assert!(servers.primary.get(&name(1)).is_some());
    servers.primary.kill();
    tier.works(2).await;
    assert!(servers.replica.get(&name(2)).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_of_sentinels_that_stops_is_replaced() {
    let servers = Sentinels::start();
    let topology =
        Topology::Sentinel { primary: servers.name().to_owned(), user: None, password_file: None };
    let tier = Tier::over(&at(&servers.ports(), topology)).await;
    tier.works(1).await;
    servers.primary.stop();
    tier.works(2).await;
    assert!(servers.replica.get(&name(2)).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_divides_the_keys_and_goes_on_without_a_primary() {
    let mut cluster = Cluster::start();
    let tier = Tier::over(&at(&cluster.ports(), Topology::Cluster)).await;
    for number in 0..32 {
        tier.works(number).await;
    }
    assert!(cluster.primaries.iter().all(|primary| !primary.keys().is_empty()));
    cluster.primaries[0].kill();
    for number in 0..32 {
        tier.works(number).await;
    }
}

/// The other nodes answer, so the guard sees no outage; and the client would ask the node forever.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_of_a_cluster_that_stops_is_replaced() {
    let cluster = Cluster::start();
    let tier = Tier::over(&at(&cluster.ports(), Topology::Cluster)).await;
    for number in 0..32 {
        tier.works(number).await;
    }
    let on_first = cluster.primaries[0].keys();
    let (stopped, working): (Vec<_>, Vec<_>) =
        (0..32).partition(|number| on_first.contains(&name(*number)));
    for primary in &cluster.primaries {
        // Otherwise they refuse all keys until the node is replaced, and the client notices that.
        primary.run(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    cluster.primaries[0].stop();
    let started = Instant::now();
    for number in stopped {
        // Never several in a row, and most lookups work, so to the guard there is no outage.
        loop {
            match tier.look_up(number).await {
                // What had not reached the replica is lost, but somebody has answered.
                Ok(_) | Err(Miss::Absent) => break,
                Err(miss) => assert!(started.elapsed() < DEADLINE, "{miss:?}"),
            }
            for number in &working[..2] {
                let _ = tier.look_up(*number).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_is_no_cluster() {
    let redis = RedisServer::start();
    let config = RedisConfig { topology: Topology::Cluster, ..config(redis.port()) };
    let store = store(&config).await;
    // The clients end for good then, and others take their place.
    let connections = || {
        let info = redis.run(&["INFO", "commandstats"]).text();
        let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_client|id:calls="));
        let calls = calls.and_then(|rest| rest.split(',').next()?.parse::<usize>().ok());
        calls.unwrap_or_default()
    };
    let started = Instant::now();
    while connections() <= 2 * config.connections {
        assert!(matches!(store.get(&key(1)).await, Err(StoreError::Unavailable(_))));
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
