//! `[ingest]`: limits on writing documents.

use serde::Deserialize;

const MIB: usize = 1 << 20;

/// `[ingest]`: the limits of one request, and how many are carried out at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// The largest body of documents.
    pub max_body_bytes: usize,
    /// The total size of such bodies in memory. A tenant gets no more of it than is still free, and
    /// further requests wait for up to a second.
    pub max_bodies_bytes: usize,
    /// How long a client may take to send such a body.
    pub body_timeout_ms: u64,
    /// The most documents in one request.
    pub max_documents: usize,
    /// The longest text of a document.
    pub max_text_bytes: usize,
    /// The largest metadata of a document, as canonical JSON.
    pub max_metadata_bytes: usize,
    /// How many requests are carried out at once.
    pub max_concurrent: usize,
    /// How long any other request waits for its turn before it is refused.
    pub queue_timeout_ms: u64,
    /// How long a write waits to become searchable before it is reported as durable only.
    pub searchable_timeout_ms: u64,
    /// How many bytes of history may wait for the search index: superseded documents and the log
    /// of changes. Writes are refused beyond that.
    pub max_backlog_bytes: u64,
    /// How many positions a collection may lag behind its last change before the server reports
    /// that it is not ready.
    pub max_ready_lag: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * MIB,
            max_bodies_bytes: 256 * MIB,
            body_timeout_ms: 120_000,
            max_documents: 1_000,
            max_text_bytes: MIB,
            max_metadata_bytes: 64 << 10,
            max_concurrent: 2,
            queue_timeout_ms: 10_000,
            searchable_timeout_ms: 10_000,
            max_backlog_bytes: 1 << 30,
            max_ready_lag: 100_000,
        }
    }
}
