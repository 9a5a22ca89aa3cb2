//! A Redis that ends, stops, forgets or is cut off, and comes back.

use weir_limits::guard::Health;
use weir_test_redis::{Fault, Proxy};

use super::*;

/// Why a lookup misses while Redis does not work.
const OUT_OF_ORDER: [Miss; 3] = [Miss::Failed, Miss::TooSlow, Miss::Open];

#[tokio::test]
async fn a_start_does_not_depend_on_redis() {
    let mut redis = RedisServer::start();
    redis.kill();
    let tier = Tier::over(&config(redis.port())).await;
    assert_eq!(tier.look_up(1).await.unwrap_err(), Miss::Failed);
    tier.misses(1, &[Miss::Open]).await;
    redis.start_again();
    let took = tier.works(1).await;
    assert!(took < BACK_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_redis_that_is_killed_is_used_again_when_it_is_back() {
    let mut redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    tier.works(1).await;
    redis.kill();
    tier.misses(1, &[Miss::Open]).await;
    // Refused at once, rather than after the lookup's budget.
    let before = Instant::now();
    for _ in 0..100 {
        tier.misses(1, &OUT_OF_ORDER).await;
    }
    assert!(before.elapsed() < DEADLINE / 10, "{:?}", before.elapsed());
    redis.start_again();
    let took = tier.works(2).await;
    assert!(took < BACK_WITHIN, "{took:?}");
    assert_eq!(tier.look_up(1).await.unwrap_err(), Miss::Absent);
}

#[tokio::test]
async fn a_redis_that_stops_answering_is_left_and_used_again() {
    let redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    tier.works(1).await;
    redis.stop();
    tier.misses(1, &[Miss::TooSlow]).await;
    tier.misses(1, &[Miss::Open]).await;
    assert_ne!(tier.guard.health(), Health::Closed);
    redis.go_on();
    let took = tier.works(2).await;
    assert!(took < BACK_WITHIN, "{took:?}");
    assert_eq!(tier.look_up(1).await.unwrap(), [1; 100]);
}

/// The others answer, so the guard never sees several calls in a row that nobody answered.
#[tokio::test]
async fn one_connection_on_which_nobody_answers_is_left() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let tier = Tier::over(&config(proxy.address().port())).await;
    tier.works(1).await;
    proxy.set(Fault::BlackHoleOnFirst);
    let (started, mut in_a_row) = (Instant::now(), 0);
    // They take turns.
    while in_a_row < 2 * config(0).connections {
        in_a_row = if tier.look_up(1).await.is_ok() { in_a_row + 1 } else { 0 };
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A socket that takes no more bytes: fred would wait for it forever.
#[tokio::test]
async fn a_redis_that_stops_reading_is_left_and_used_again() {
    let redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    tier.works(1).await;
    redis.stop();
    for number in 0..32 {
        tier.tier.put(key(number), record(&[number; 512 << 10]));
        tier.misses(number, &OUT_OF_ORDER).await;
    }
    tier.misses(1, &[Miss::Open]).await;
    // What waited on the connections that were given up is not held any more.
    let started = Instant::now();
    while tier.store.unsent.available_permits() < tier.store.unsent_units as usize {
        let _ = tier.look_up(1).await;
        assert!(started.elapsed() < DEADLINE, "{}", tier.store.unsent.available_permits());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    redis.go_on();
    // Not one of those that it may have received before.
    let took = tier.works(40).await;
    assert!(took < BACK_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_filled_again() {
    let redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    tier.works(1).await;
    redis.run(&["FLUSHALL"]);
    assert_eq!(tier.look_up(1).await.unwrap_err(), Miss::Absent);
    tier.works(1).await;
}

#[tokio::test]
async fn a_network_that_fails_costs_misses_until_it_works() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let tier = Tier::over(&config(proxy.address().port())).await;
    tier.works(1).await;
    for (number, fault) in [
        (2, Fault::Delay(Duration::from_millis(700))),
        (3, Fault::BlackHole),
        (4, Fault::Cut),
        (5, Fault::Reset),
    ] {
        proxy.set(fault);
        tier.misses(number, &OUT_OF_ORDER).await;
        tier.misses(number, &[Miss::Open]).await;
        proxy.set(Fault::None);
        let took = tier.works(number).await;
        assert!(took < BACK_WITHIN, "{fault:?}: {took:?}");
        assert_eq!(tier.look_up(1).await.unwrap(), [1; 100], "{fault:?}");
    }
}
