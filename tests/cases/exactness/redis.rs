//! The Redis of a run, and what happens to it: it stops, is killed, forgets, lies, cannot be reached, and
//! is replaced by another.

use weir_test_redis::{Cluster, Fault, Proxy, RedisServer, Sentinels, Spoil};

use super::plan::Backend;
use crate::harness::Config;

use std::time::Duration;

/// Longer than a lookup waits.
const DELAY: Duration = Duration::from_millis(100);

/// Something that happens to a Redis, and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// The process stops, and goes on.
    Stopped,
    /// The process is killed, and starts again without anything.
    Killed,
    /// Everything is deleted.
    Flushed,
    /// All values are changed.
    Spoiled(Spoil),
    /// What was there at the beginning is there again at the end.
    OldPutBack,
    /// The network fails.
    Network(Fault),
    /// A primary is killed, and its replica takes its place.
    PrimaryKilled,
    /// A primary stops, its replica takes its place, and the old one goes on.
    PrimaryStopped,
    /// A primary and its replica change places, because somebody wants it.
    PrimaryReplaced,
}

impl Disturbance {
    /// Whether no answer that was there before is found after it has begun.
    pub(super) fn hides_all(self) -> bool {
        use Disturbance::*;
        match self {
            Stopped | Killed | Flushed | Spoiled(_) | Network(_) => true,
            OldPutBack | PrimaryKilled | PrimaryStopped | PrimaryReplaced => false,
        }
    }
}

/// What happens to a single server, in this order.
const TO_ONE: [Disturbance; 11] = [
    Disturbance::Stopped,
    Disturbance::OldPutBack,
    Disturbance::Network(Fault::Cut),
    Disturbance::Spoiled(Spoil::Garbage),
    Disturbance::Killed,
    Disturbance::Spoiled(Spoil::Swap),
    Disturbance::Network(Fault::Delay(DELAY)),
    Disturbance::Flushed,
    Disturbance::Network(Fault::BlackHole),
    Disturbance::Spoiled(Spoil::Truncate),
    Disturbance::Network(Fault::Reset),
];

/// What happens to several, in this order.
const TO_PRIMARIES: [Disturbance; 3] =
    [Disturbance::PrimaryKilled, Disturbance::PrimaryStopped, Disturbance::PrimaryReplaced];

/// A Redis that is the shared tier of a run.
pub(super) enum Redis {
    One { server: RedisServer, proxy: Proxy },
    WithSentinels(Sentinels),
    InCluster { cluster: Cluster, primary: usize },
}

impl Redis {
    /// `None` if the backend is none.
    pub(super) async fn start(backend: Backend) -> Option<Self> {
        let start = || match backend {
            Backend::Sentinels => Self::WithSentinels(Sentinels::start()),
            _ => Self::InCluster { cluster: Cluster::start(), primary: 0 },
        };
        match backend {
            Backend::Disk => None,
            Backend::Redis => {
                let server = RedisServer::start();
                let proxy = Proxy::start(server.address()).await;
                Some(Self::One { server, proxy })
            }
            Backend::Sentinels | Backend::Cluster => Some(tokio::task::block_in_place(start)),
        }
    }

    /// Makes it the shared tier of a server.
    pub(super) fn configure(&self, config: &mut Config) {
        let at = |ports: Vec<u16>| ports.into_iter().map(|port| format!("127.0.0.1:{port}"));
        let (topology, servers) = match self {
            Self::One { proxy, .. } => ("single", vec![proxy.address().to_string()]),
            Self::WithSentinels(servers) => {
                config.set("cache.shared.redis.sentinel_primary", servers.name());
                ("sentinel", at(servers.ports()).collect())
            }
            Self::InCluster { cluster, .. } => ("cluster", at(cluster.ports()).collect()),
        };
        config
            .set("cache.shared.backend", "redis")
            .set("cache.shared.redis.topology", topology)
            .set("cache.shared.redis.servers", servers);
    }

    /// What happens to it, in this order.
    pub(super) fn disturbances(&self) -> &'static [Disturbance] {
        match self {
            Self::One { .. } => &TO_ONE,
            Self::WithSentinels(_) | Self::InCluster { .. } => &TO_PRIMARIES,
        }
    }

    /// Begins a disturbance. Blocks.
    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match (self, disturbance) {
            (Self::One { server, .. }, Disturbance::Stopped) => server.stop(),
            (Self::One { server, .. }, Disturbance::Killed) => server.kill(),
            (Self::One { server, .. }, Disturbance::Flushed) => drop(server.run(&["FLUSHALL"])),
            (Self::One { server, .. }, Disturbance::Spoiled(spoil)) => {
                assert!(server.spoil(spoil) > 1, "there is nothing to spoil");
            }
            (Self::One { server, .. }, Disturbance::OldPutBack) => {
                assert!(server.spoil(Spoil::Keep) > 1, "there is nothing to keep");
            }
            (Self::One { proxy, .. }, Disturbance::Network(fault)) => proxy.set(fault),
            (several, Disturbance::PrimaryKilled) => several.primary().kill(),
            (several, Disturbance::PrimaryStopped) => several.primary().stop(),
            (Self::WithSentinels(servers), Disturbance::PrimaryReplaced) => servers.fail_over(),
            (Self::InCluster { cluster, primary }, Disturbance::PrimaryReplaced) => {
                cluster.fail_over(*primary);
            }
            (_, other) => panic!("{other:?} is of another kind of Redis"),
        }
    }

    /// Ends it: from now on, Redis works. Returns `false` if it is too early for that. Blocks.
    pub(super) fn come_back(&mut self, disturbance: Disturbance) -> bool {
        match (self, disturbance) {
            (Self::One { server, .. }, Disturbance::Stopped) => server.go_on(),
            (Self::One { server, .. }, Disturbance::Killed) => server.start_again(),
            (Self::One { .. }, Disturbance::Flushed | Disturbance::Spoiled(_)) => {}
            (Self::One { server, .. }, Disturbance::OldPutBack) => {
                return server.spoil(Spoil::PutBack) > 0;
            }
            (Self::One { proxy, .. }, Disturbance::Network(_)) => proxy.set(Fault::None),
            (Self::WithSentinels(servers), _) => servers.replaced(),
            (Self::InCluster { cluster, primary }, _) => cluster.replaced(*primary),
            (_, other) => panic!("{other:?} is of another kind of Redis"),
        }
        true
    }

    /// Makes the primary that was replaced the replica. The next disturbance is about another one. Blocks.
    pub(super) fn repair(&mut self, disturbance: Disturbance) {
        let replaced = match self {
            Self::One { .. } => return,
            Self::WithSentinels(servers) => &mut servers.replica,
            Self::InCluster { cluster, primary } => &mut cluster.replicas[*primary],
        };
        match disturbance {
            Disturbance::PrimaryKilled => replaced.start_again(),
            Disturbance::PrimaryStopped => replaced.go_on(),
            _ => {}
        }
        match self {
            Self::One { .. } => {}
            Self::WithSentinels(servers) => servers.repaired(),
            Self::InCluster { cluster, primary } => {
                cluster.repaired(*primary);
                *primary = (*primary + 1) % cluster.primaries.len();
            }
        }
    }

    /// The primary that is disturbed.
    fn primary(&mut self) -> &mut RedisServer {
        match self {
            Self::One { .. } => panic!("it is no primary of others"),
            Self::WithSentinels(servers) => &mut servers.primary,
            Self::InCluster { cluster, primary } => &mut cluster.primaries[*primary],
        }
    }
}
