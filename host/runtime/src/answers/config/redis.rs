//! `[cache.shared.redis]`: where the Redis of the shared tier is, and what it may take.

use std::path::PathBuf;

use serde::Deserialize;

/// `[cache.shared.redis]`: the Redis of the backend "redis". An empty text is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// How its servers belong together.
    pub topology: Topology,
    /// `HOST:PORT` of the server, of some Sentinels or of some nodes of the Cluster.
    pub servers: Vec<String>,
    /// The user; Redis's default user if there is none.
    pub user: String,
    /// The file with the password.
    pub password_file: PathBuf,
    /// The name under which Sentinels know the primary.
    pub sentinel_primary: String,
    /// The user at the Sentinels.
    pub sentinel_user: String,
    /// The file with that user's password.
    pub sentinel_password_file: PathBuf,
    /// The database that is selected.
    pub database: u8,
    /// Whether connections have TLS.
    pub tls: bool,
    /// The authorities whose certificates are trusted, instead of the system's.
    pub ca_file: PathBuf,
    /// What the keys begin with.
    pub key_prefix: String,
    /// How many connections are open, in a Cluster to each primary.
    pub connections: usize,
    /// How long connecting may take.
    pub connect_timeout_ms: u64,
    /// How long a command may take.
    pub command_timeout_ms: u64,
    /// The pause before the first attempt to connect again. Each one doubles it, with jitter.
    pub min_reconnect_delay_ms: u64,
    /// The longest pause.
    pub max_reconnect_delay_ms: u64,
    /// The most commands that wait to be sent on a connection.
    pub max_queued_commands: usize,
}

/// How the servers of a Redis belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One server.
    Single,
    /// A primary with replicas, which Sentinels replace.
    Sentinel,
    /// A Cluster.
    Cluster,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            topology: Topology::Single,
            servers: vec!["127.0.0.1:6379".to_owned()],
            user: String::new(),
            password_file: PathBuf::new(),
            sentinel_primary: String::new(),
            sentinel_user: String::new(),
            sentinel_password_file: PathBuf::new(),
            database: 0,
            tls: false,
            ca_file: PathBuf::new(),
            key_prefix: "weir:".to_owned(),
            connections: 10,
            connect_timeout_ms: 2_000,
            command_timeout_ms: 1_000,
            min_reconnect_delay_ms: 50,
            max_reconnect_delay_ms: 1_000,
            max_queued_commands: 1_024,
        }
    }
}

impl Redis {
    /// The servers' hosts and ports; `None` is one that is not `HOST:PORT`.
    pub fn hosts(&self) -> impl Iterator<Item = Option<(String, u16)>> {
        self.servers.iter().map(|server| host(server))
    }

    /// The files that this names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = [
            ("password_file", &self.password_file),
            ("sentinel_password_file", &self.sentinel_password_file),
            ("ca_file", &self.ca_file),
        ];
        files.into_iter().filter(|(_, path)| !path.as_os_str().is_empty())
    }

    /// The same files, to make their paths absolute.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [&mut self.password_file, &mut self.sentinel_password_file, &mut self.ca_file];
        files.into_iter().filter(|path| !path.as_os_str().is_empty())
    }

    /// What does not go together, one line per problem. Ranges of numbers are checked elsewhere.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (server, host) in self.servers.iter().zip(self.hosts()) {
            if host.is_none() {
                problems.push(format!(
                    "servers: '{server}' is not HOST:PORT, such as redis.example:6379"
                ));
            }
        }
        let (is_sentinel, servers) = (self.topology == Topology::Sentinel, self.servers.len());
        match self.topology {
            Topology::Single if servers != 1 => problems.push(format!(
                "servers: topology 'single' has one server, not {servers}; several are 'sentinel' or \
                 'cluster'"
            )),
            _ if servers == 0 => problems.push("servers: name at least one".to_owned()),
            _ => {}
        }
        if is_sentinel && self.sentinel_primary.is_empty() {
            problems.push(
                "sentinel_primary: topology 'sentinel' needs the name of the primary, as in the \
                 Sentinels' configuration"
                    .to_owned(),
            );
        }
        let none = |path: &PathBuf| path.as_os_str().is_empty();
        let others = [
            ("sentinel_primary", self.sentinel_primary.is_empty()),
            ("sentinel_user", self.sentinel_user.is_empty()),
            ("sentinel_password_file", none(&self.sentinel_password_file)),
        ];
        for (key, _) in others.iter().filter(|(_, is_empty)| !is_sentinel && !is_empty) {
            problems.push(format!("{key}: only topology 'sentinel' has Sentinels"));
        }
        for (key, user, file) in [
            ("user", &self.user, &self.password_file),
            ("sentinel_user", &self.sentinel_user, &self.sentinel_password_file),
        ] {
            if !user.is_empty() && none(file) {
                problems.push(format!("{key}: a user needs a password: name its file, too"));
            }
        }
        if self.topology == Topology::Cluster && self.database != 0 {
            problems.push("database: a Cluster has only database 0".to_owned());
        }
        if !self.tls && !none(&self.ca_file) {
            problems.push("ca_file: is used with 'tls = true' only".to_owned());
        }
        if self.key_prefix.len() > 128 {
            problems.push("key_prefix: at most 128 bytes".to_owned());
        }
        if self.min_reconnect_delay_ms > self.max_reconnect_delay_ms {
            problems.push("min_reconnect_delay_ms: larger than max_reconnect_delay_ms".to_owned());
        }
        problems
    }
}

/// The host and the port of `HOST:PORT`; the host of `[::1]:6379` is `::1`.
fn host(server: &str) -> Option<(String, u16)> {
    let (host, port) = server.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_plain = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            address.parse::<std::net::Ipv6Addr>().ok().map(|_| (address.to_owned(), port))
        }
        None => is_plain(host).then(|| (host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        for (server, expected) in [
            ("127.0.0.1:6379", Some(("127.0.0.1", 6379))),
            ("redis_1.cache-a.example:1", Some(("redis_1.cache-a.example", 1))),
            ("[::1]:6379", Some(("::1", 6379))),
            ("localhost", None),
            (":6379", None),
            ("localhost:0", None),
            ("localhost:70000", None),
            ("redis://localhost:6379", None),
            ("user@localhost:6379", None),
            ("::1:6379", None),
            ("[localhost]:6379", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host(server), expected, "{server}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        type Change = fn(&mut Redis);
        let changes: [(Change, &str); 11] = [
            (|_| {}, ""),
            (|redis| redis.servers = vec!["a".into()], "servers: 'a' is not HOST:PORT"),
            (|redis| redis.servers.push("b:1".into()), "servers: topology 'single' has one"),
            (
                |redis| {
                    redis.topology = Topology::Cluster;
                    redis.servers.clear();
                },
                "servers: name at least one",
            ),
            (
                |redis| redis.topology = Topology::Sentinel,
                "sentinel_primary: topology 'sentinel' needs",
            ),
            (|redis| redis.sentinel_user = "x".into(), "sentinel_user: only topology 'sentinel'"),
            (|redis| redis.user = "x".into(), "user: a user needs a password"),
            (
                |redis| {
                    redis.topology = Topology::Cluster;
                    redis.database = 1;
                },
                "database: a Cluster has only database 0",
            ),
            (|redis| redis.ca_file = "x".into(), "ca_file: is used with 'tls = true' only"),
            (|redis| redis.key_prefix = "x".repeat(129), "key_prefix: at most 128 bytes"),
            (|redis| redis.min_reconnect_delay_ms = 2_000, "min_reconnect_delay_ms: larger"),
        ];
        for (change, expected) in changes {
            let mut redis = Redis::default();
            change(&mut redis);
            let problems = redis.problems().join("\n");
            assert!(
                problems.starts_with(expected) && problems.is_empty() == expected.is_empty(),
                "{problems}"
            );
        }
    }
}
