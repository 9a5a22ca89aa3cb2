//! A Cluster: three primaries, and a replica for each, which takes over within seconds.

use std::mem::swap;

use crate::reply::Reply;
use crate::server::{RedisServer, free_port};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// The nodes of a Cluster.
pub struct Cluster {
    /// The primaries. One of them is another node after [`replaced`](Self::replaced).
    pub primaries: Vec<RedisServer>,
    /// The replica of each.
    pub replicas: Vec<RedisServer>,
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

    /// Tells the replica of the primary with this number to take its place, while it works.
    pub fn fail_over(&self, number: usize) {
        self.replicas[number].run(&["CLUSTER", "FAILOVER"]);
    }

    /// Waits until the primary with this number has been replaced by its replica, and all primaries know
    /// that the Cluster works.
    ///
    /// A node that becomes a primary again within four seconds counts the votes of the time before, and
    /// nobody believes it. So let primaries with other numbers be replaced meanwhile.
    pub fn replaced(&mut self, number: usize) {
        swap(&mut self.primaries[number], &mut self.replicas[number]);
        let primary = &self.primaries[number];
        primary.wait_for(&["INFO", "replication"], |info| info.contains("role:master"));
        let [first, last] = [number, number + 1].map(|number| SLOTS * number / PRIMARIES);
        let its_slots = format!("{first} {} 127.0.0.1 {} ", last - 1, primary.port());
        for primary in &self.primaries {
            primary.wait_for(&["CLUSTER", "SLOTS"], |slots| slots.contains(&its_slots));
            primary.wait_for(&["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok"));
        }
    }

    /// Waits until the node that was replaced, and runs, has become the replica and could take over.
    pub fn repaired(&self, number: usize) {
        self.replicas[number].wait_for(&["INFO", "replication"], |info| {
            info.contains("role:slave") && info.contains("master_link_status:up")
        });
        for node in self.primaries.iter().chain(&self.replicas) {
            node.wait_for(&["CLUSTER", "NODES"], |nodes| {
                !nodes.contains("disconnected") && !nodes.contains("fail")
            });
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_take_over_and_primaries_come_back() {
        let mut cluster = Cluster::start();
        let ports = |nodes: &[RedisServer]| nodes.iter().map(RedisServer::port).collect::<Vec<_>>();
        let replicas = ports(&cluster.replicas);
        cluster.primaries[0].kill();
        cluster.replaced(0);
        cluster.replicas[0].start_again();
        cluster.repaired(0);
        cluster.primaries[1].stop();
        cluster.replaced(1);
        cluster.replicas[1].go_on();
        cluster.repaired(1);
        cluster.fail_over(2);
        cluster.replaced(2);
        cluster.repaired(2);
        assert_eq!(ports(&cluster.primaries), replicas);
        // And the other way round.
        cluster.fail_over(0);
        cluster.replaced(0);
        cluster.repaired(0);
        assert_eq!(ports(&cluster.primaries)[1..], replicas[1..]);
    }
}
