//! What a server under test has as its shared tier, and what is in it.

use std::fmt;
use std::fs;

use weir_test_redis::RedisServer;

use super::folder;
use crate::harness::{Config, Server};

/// The file of the backend "disk".
pub(super) const FILE: &str = "cache.redb";

/// A shared tier.
pub(super) enum Tier {
    Disk,
    Redis(RedisServer),
}

/// Everything that a tier has: its file, or its keys and values.
pub(super) enum Content {
    File(Vec<u8>),
    Values(Vec<(String, Vec<u8>)>),
}

impl Tier {
    /// One of each, empty.
    pub(super) fn all() -> [Self; 2] {
        [Self::Disk, Self::Redis(RedisServer::start())]
    }

    pub(super) fn configure(&self, config: &mut Config) {
        if let Self::Redis(redis) = self {
            config
                .set("cache.shared.backend", "redis")
                .set("cache.shared.redis.servers", vec![redis.address().to_string()]);
        }
    }

    pub(super) fn content(&self, server: &Server) -> Content {
        match self {
            Self::Disk => Content::File(fs::read(folder(server).join(FILE)).unwrap()),
            Self::Redis(redis) => {
                let value = |key: String| redis.get(&key).map(|value| (key, value));
                Content::Values(redis.keys().into_iter().filter_map(value).collect())
            }
        }
    }

    /// Makes this all that the tier has.
    pub(super) fn put_back(&self, server: &Server, content: &Content) {
        match (self, content) {
            (Self::Disk, Content::File(bytes)) => {
                fs::write(folder(server).join(FILE), bytes).unwrap();
            }
            (Self::Redis(redis), Content::Values(values)) => {
                redis.run(&["FLUSHALL"]);
                values.iter().for_each(|(key, value)| redis.set(key, value));
            }
            _ => panic!("it is of another kind of tier"),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Redis(_) => "redis",
        })
    }
}
