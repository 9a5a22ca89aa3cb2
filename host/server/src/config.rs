//! The sections of the configuration that the server reads, with their units and defaults.
//!
//! Out of scope: reading the file, the allowed ranges, and error messages about the file
//! (`weir`).

use std::path::PathBuf;

use serde::Deserialize;

const MIB: usize = 1 << 20;

/// `[server]`: the public listener and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port. Port 0 picks a free port.
    pub listen: String,
    /// Host names that requests may give, besides those of this machine and of tenants, if the
    /// address is a loopback one; `*` allows any.
    pub allowed_hosts: Vec<String>,
    /// Concurrent connections. Further ones wait in the system's backlog. A client, which is an IPv4
    /// address or a /64 of IPv6, gets no more of them than are still free.
    pub max_connections: usize,
    /// How many new connections of one client are served a second. Further ones wait.
    pub max_client_connections_per_second: u32,
    /// From a request's first byte to the end of its head.
    pub header_timeout_ms: u64,
    /// From a body's first byte to its last.
    pub body_timeout_ms: u64,
    /// A connection that has no request in flight and moves no bytes for this long is closed. Over
    /// HTTP/2, bytes that belong to no request do not count.
    pub idle_timeout_ms: u64,
    /// A connection is closed if its client reads less than 64 KiB of an answer, or of what is left
    /// of it, in this time.
    pub write_timeout_ms: u64,
    /// A connection that is older accepts no further requests, up to a tenth later, and those in
    /// flight have the drain's time.
    pub max_connection_age_ms: u64,
    /// The size of a request's head; at least 8 KiB.
    pub max_header_bytes: usize,
    /// The size of a body, except for bodies of documents.
    pub max_body_bytes: usize,
    /// The total size of such bodies in memory. A tenant gets no more of it than is still free,
    /// and further requests wait for up to a second.
    pub max_bodies_bytes: usize,
    /// The least rate of any body, also of documents, after its first ten seconds. 0 allows any.
    pub min_body_bytes_per_second: u64,
    /// The total size of answers over 64 KiB that their clients have not read yet. A client gets no
    /// more of it than is still free.
    pub max_answers_bytes: usize,
    /// Requests in flight on all connections, until their answers are written. Further ones are
    /// refused.
    pub max_requests: usize,
    /// Concurrent HTTP/2 streams on one connection.
    pub max_concurrent_streams: u32,
    /// How long a request waits for the position that it demands, or for one that all collections
    /// have in common which its pipeline reads.
    pub position_timeout_ms: u64,
    /// How long requests in flight have to finish after SIGTERM; at most 10 s.
    pub drain_timeout_ms: u64,
    /// Its certificate.
    pub tls: Tls,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            allowed_hosts: Vec::new(),
            max_connections: 4_096,
            max_client_connections_per_second: 1_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
            max_connection_age_ms: 3_600_000,
            max_header_bytes: 16_384,
            max_body_bytes: MIB,
            max_bodies_bytes: 256 * MIB,
            min_body_bytes_per_second: 1_024,
            max_answers_bytes: 256 * MIB,
            max_requests: 16_384,
            max_concurrent_streams: 256,
            position_timeout_ms: 2_000,
            drain_timeout_ms: 10_000,
            tls: Tls::default(),
        }
    }
}

/// `[admin]`: the admin listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port; empty for no admin listener. Port 0 picks a free port.
    pub listen: String,
    /// The file of the token that every request needs, which is made if it does not exist. Empty for
    /// `admin-token` in the data folder.
    pub token_file: PathBuf,
    /// Whether the public listener shows tenants the analytics of their caches also if they do not ask
    /// from this machine.
    pub open_analytics: bool,
    /// Its certificate. Beyond a loopback address, it needs one.
    pub tls: Tls,
}

impl Default for Admin {
    fn default() -> Self {
        let listen = "127.0.0.1:8081".to_owned();
        Self { listen, token_file: PathBuf::new(), open_analytics: false, tls: Tls::default() }
    }
}

/// `[server.tls]` and `[admin.tls]`: the certificate of a listener. Without one, it does not speak TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those that lead to its authority, in PEM format; empty for none.
    pub certificate_file: PathBuf,
    /// The key of the certificate, in PEM format.
    pub key_file: PathBuf,
    /// From the beginning of a connection to the end of its handshake.
    pub handshake_timeout_ms: u64,
}

impl Default for Tls {
    fn default() -> Self {
        let (certificate_file, key_file) = (PathBuf::new(), PathBuf::new());
        Self { certificate_file, key_file, handshake_timeout_ms: 10_000 }
    }
}

impl Tls {
    /// Whether the listener speaks TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificate_file.as_os_str().is_empty()
    }

    /// The files that this names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = [("certificate_file", &self.certificate_file), ("key_file", &self.key_file)];
        files.into_iter().filter(|(_, path)| !path.as_os_str().is_empty())
    }

    /// The same files, to make their paths absolute.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [&mut self.certificate_file, &mut self.key_file];
        files.into_iter().filter(|path| !path.as_os_str().is_empty())
    }

    /// What is missing, if only one of the files is named.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        match (self.is_on(), self.key_file.as_os_str().is_empty()) {
            (true, true) => Some("key_file: name the file with the key of certificate_file"),
            (false, false) => {
                Some("certificate_file: name the file with the certificate of key_file")
            }
            _ => None,
        }
    }
}

/// `[log]`: what is logged, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or `tracing` directives: `info,weir::http=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For humans.
    Text,
    /// One JSON object per line.
    Json,
}
