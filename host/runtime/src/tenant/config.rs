//! `[ingest]`: what one request may bring in.

use serde::Deserialize;

const MIB: usize = 1 << 20;

/// `[ingest]`: what one request may bring, and how many are taken at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// A body of documents.
    pub max_body_bytes: usize,
    /// For all of such a body.
    pub body_timeout_ms: u64,
    /// Documents in one request.
    pub max_documents: usize,
    /// A document's text.
    pub max_text_bytes: usize,
    /// A document's metadata, as canonical JSON.
    pub max_metadata_bytes: usize,
    /// Requests carried out at once.
    pub max_concurrent: usize,
    /// What a further request waits for its turn before it is refused.
    pub queue_timeout_ms: u64,
    /// What a write waits to be searchable before it is answered as only durable.
    pub searchable_timeout_ms: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * MIB,
            body_timeout_ms: 120_000,
            max_documents: 1_000,
            max_text_bytes: MIB,
            max_metadata_bytes: 64 << 10,
            max_concurrent: 2,
            queue_timeout_ms: 10_000,
            searchable_timeout_ms: 10_000,
        }
    }
}
