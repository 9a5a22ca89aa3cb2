//! A primary with a replica, and three Sentinels that replace it within two or three seconds.

use std::fs;
use std::mem::swap;

use crate::server::RedisServer;

/// The name of the primary.
const NAME: &str = "weir";
/// Longer than they need to connect to a new primary, which they would otherwise take for gone, too.
const DOWN_AFTER_MS: &str = "1500";
/// How often they look at the others. By default, that can be every ten seconds. Pings stay as they are: what
/// is known of a replica must be no older than five of them when it is to take over, and while the primary is
/// down, Sentinels look only once a second.
const PERIODS_MS: &[&str] = &["INFO-PERIOD", "500"];

/// Two servers and their Sentinels.
pub struct Sentinels {
    /// The primary: the other server after [`replaced`](Self::replaced).
    pub primary: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts them, and waits until each knows all others.
    #[must_use]
    pub fn start() -> Self {
        let (primary, replica) = (RedisServer::start(), RedisServer::start());
        replica.replicate(&primary);
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(primary.port())).collect();
        for sentinel in &sentinels {
            sentinel.run(&[&["SENTINEL", "DEBUG"], PERIODS_MS].concat());
            sentinel.wait_for(&["SENTINEL", "CKQUORUM", NAME], |said| said.starts_with("OK 3"));
            sentinel.wait_for(&["INFO", "sentinel"], |said| said.contains("slaves=1,sentinels=3"));
        }
        Self { primary, replica, sentinels }
    }

    /// The name of the primary.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The Sentinels' ports.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(RedisServer::port).collect()
    }

    /// Tells the Sentinels to replace the primary, which works.
    pub fn fail_over(&self) {
        self.sentinels[0].run(&["SENTINEL", "FAILOVER", NAME]);
    }

    /// Waits until the replica has taken the primary's place, and all Sentinels say so.
    pub fn replaced(&mut self) {
        swap(&mut self.primary, &mut self.replica);
        let port = self.primary.port().to_string();
        for sentinel in &self.sentinels {
            sentinel.wait_for(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME], |said| {
                said.split(' ').nth(1) == Some(&port)
            });
        }
        self.primary.wait_for(&["INFO", "replication"], |info| info.contains("role:master"));
    }

    /// Waits until the server that was replaced, and runs, has become the replica and all Sentinels see
    /// that it could take over.
    pub fn repaired(&self) {
        // The Sentinels would do so, too, but wait for ten seconds.
        self.replica.replicate(&self.primary);
        for sentinel in &self.sentinels {
            sentinel.wait_for(&["SENTINEL", "REPLICAS", NAME], |said| {
                said.contains(" flags slave ") && said.contains(" master-link-status ok ")
            });
        }
    }
}

fn sentinel(primary: u16) -> RedisServer {
    RedisServer::running(None, |folder, port| {
        let file = folder.join("sentinel.conf");
        let folder = folder.display();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 3000\n"
        );
        fs::write(&file, text).unwrap();
        vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_take_turns() {
        let mut servers = Sentinels::start();
        let [first, second] = [&servers.primary, &servers.replica].map(RedisServer::port);
        servers.primary.set("key", b"value");
        servers.primary.kill();
        servers.replaced();
        assert_eq!(servers.primary.port(), second);
        servers.replica.start_again();
        servers.repaired();
        servers.fail_over();
        servers.replaced();
        assert_eq!(servers.primary.port(), first);
        assert_eq!(servers.primary.get("key").unwrap(), b"value");
        servers.repaired();
        servers.primary.stop();
        servers.replaced();
        servers.replica.go_on();
        servers.repaired();
        assert_eq!(servers.primary.port(), second);
    }
}
