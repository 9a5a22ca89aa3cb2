//! A primary with a replica, and three Sentinels that replace it within a second or two.

use std::fs;

use crate::server::RedisServer;

/// The name of the primary.
const NAME: &str = "weir";
const DOWN_AFTER_MS: &str = "500";

/// Two servers and their Sentinels.
pub struct Sentinels {
    /// The server that is the primary at first.
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
