//! The sections of the configuration that the server reads, with their units and defaults.
//!
//! Out of scope: the file that they stand in, their ranges, and what is wrong with a file
//! (`weir`).

use serde::Deserialize;

const MIB: usize = 1 << 20;

/// `[server]`: the public listener and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Connections at once; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// From a request's first byte to the end of its head.
    pub header_timeout_ms: u64,
    /// For all of a body.
    pub body_timeout_ms: u64,
    /// Without a request or any byte moved, a connection is closed.
    pub idle_timeout_ms: u64,
    /// A request's head; at least 8 KiB.
    pub max_header_bytes: usize,
    /// A body, but for those of documents.
    pub max_body_bytes: usize,
    /// Such bodies at once, added up; further requests wait for up to a second.
    pub max_bodies_bytes: usize,
    /// HTTP/2 streams at once on one connection.
    pub max_concurrent_streams: u32,
    /// What requests in flight get to finish after SIGTERM; at most 10 s.
    pub drain_timeout_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            max_connections: 4_096,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            max_header_bytes: 16_384,
            max_body_bytes: MIB,
            max_bodies_bytes: 256 * MIB,
            max_concurrent_streams: 256,
            drain_timeout_ms: 10_000,
        }
    }
}

/// `[log]`: what the log says, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or directives as `tracing` takes them: `info,weir::http=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
