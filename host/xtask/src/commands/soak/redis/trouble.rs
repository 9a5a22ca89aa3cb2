//! A Redis behind a proxy, and the troubles that it can be in.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use weir_test_redis::{Fault, Proxy, RedisServer};

/// Longer than a lookup waits.
const DELAY: Duration = Duration::from_millis(100);

/// Trouble that a Redis is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trouble {
    /// The process is stopped.
    Stopped,
    /// The process is gone.
    Killed,
    /// The network fails.
    Network(Fault),
}

/// All troubles, in the order in which they come.
pub(super) const TROUBLES: [Trouble; 6] = [
    Trouble::Stopped,
    Trouble::Killed,
    Trouble::Network(Fault::Delay(DELAY)),
    Trouble::Network(Fault::BlackHole),
    Trouble::Network(Fault::Cut),
    Trouble::Network(Fault::Reset),
];

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => formatter.write_str("stopped"),
            Self::Killed => formatter.write_str("killed"),
            Self::Network(Fault::None) => formatter.write_str("none"),
            Self::Network(Fault::Delay(delay)) => {
                write!(formatter, "{} ms late", delay.as_millis())
            }
            Self::Network(Fault::BlackHole) => formatter.write_str("silent"),
            Self::Network(Fault::BlackHoleOnFirst) => formatter.write_str("one silent"),
            Self::Network(Fault::Cut) => formatter.write_str("replies cut"),
            Self::Network(Fault::Reset) => formatter.write_str("connections reset"),
        }
    }
}

/// A Redis behind a proxy. Both are gone when it is dropped.
pub(super) struct Redis {
    server: RedisServer,
    proxy: Proxy,
}

impl Redis {
    pub(super) async fn start() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::start(server.address()).await;
        Self { server, proxy }
    }

    /// Makes it the shared tier in the sections of a server's configuration.
    pub(super) fn configure(&self, sections: &mut Value) {
        sections["cache"]["shared"] = json!({
            "backend": "redis",
            "redis": { "servers": [self.proxy.address().to_string()] },
        });
    }

    pub(super) fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Stopped => self.server.stop(),
            Trouble::Killed => self.server.kill(),
            Trouble::Network(fault) => self.proxy.set(fault),
        }
    }

    pub(super) fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Stopped => self.server.go_on(),
            Trouble::Killed => self.server.start_again(),
            Trouble::Network(_) => self.proxy.set(Fault::None),
        }
    }
}
