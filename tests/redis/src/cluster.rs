//! A Cluster: three primaries, and a replica for each, which takes over within seconds.

use crate::reply::Reply;
use crate::server::{RedisServer, free_port};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// The nodes of a Cluster.
pub struct Cluster {
    /// The nodes that are primaries at first.
    pub primaries: Vec<RedisServer>,
    replicas: Vec<RedisServer>,
}

impl Cluster {
    /// Starts a Cluster, and waits until every node knows that it works.
    #[must_use]
    pub fn start() -> Self {
        let nodes = || (0..PRIMARIES).map(|_| node()).collect::<Vec<_>>();
        let (primaries, replicas) = (nodes(), nodes());
        for (index, (primary, _)) in primaries.iter().enumerate() {
            let [first, last] = [index, index + 1].map(|index| SLOTS * index / PRIMARIES);
            let (first, last) = (first.to_string(), (last - 1).to_string());
            primary.run(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            primary.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        let (first, _) = &primaries[0];
        for (node, bus) in primaries.iter().chain(&replicas).skip(1) {
            let (port, bus) = (node.port().to_string(), bus.to_string());
            first.run(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let all = format!("cluster_known_nodes:{}", 2 * PRIMARIES);
        let has_met = |(node, _): &(RedisServer, u16)| {
            node.wait_for(&["CLUSTER", "INFO"], |info| {
                info.contains(&all) && info.contains("cluster_state:ok")
            });
        };
        primaries.iter().chain(&replicas).for_each(has_met);
        for ((primary, _), (replica, _)) in primaries.iter().zip(&replicas) {
            let Reply::Bytes(id) = primary.run(&["CLUSTER", "MYID"]) else {
                panic!("it has an id")
            };
            replica.run(&["CLUSTER", "REPLICATE", &String::from_utf8_lossy(&id)]);
            replica.wait_for(&["INFO", "replication"], |info| {
                info.contains("role:slave") && info.contains("master_link_status:up")
            });
        }
        let only_nodes =
            |nodes: Vec<(RedisServer, u16)>| nodes.into_iter().map(|(node, _)| node).collect();
        Self { primaries: only_nodes(primaries), replicas: only_nodes(replicas) }
    }

    /// The ports of all nodes.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.primaries.iter().chain(&self.replicas).map(RedisServer::port).collect()
    }
}

/// A node, and the port on which it talks to the others.
fn node() -> (RedisServer, u16) {
    let bus = free_port();
    let node = RedisServer::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus.to_string(),
        "--cluster-node-timeout",
        "1000",
        // Otherwise no replica is promoted with so short a timeout.
        "--cluster-replica-validity-factor",
        "0",
    ]);
    (node, bus)
}
