//! Why the truth did not answer. Engines convert their own errors; no type of theirs gets out.

use thiserror::Error;
use weir_core::name::{DocumentId, Name};

/// Why the truth did not answer.
#[derive(Debug, Error)]
pub enum TruthError {
    /// No such collection.
    #[error("there is no collection '{0}'")]
    UnknownCollection(Name),
    /// There are as many collections as a tenant may have.
    #[error("there are {limit} collections already, and no more are allowed")]
    TooManyCollections {
        /// Most collections of a tenant.
        limit: u32,
    },
    /// One write has more documents than the log may hold at one position.
    #[error("a write takes at most {limit} documents")]
    TooManyDocuments {
        /// Most documents of a write.
        limit: usize,
    },
    /// One write names a document twice.
    #[error("the document '{0}' is given twice")]
    DuplicateDocument(DocumentId),
    /// The document could be stored, but never indexed.
    #[error("the document '{id}' cannot be stored: {reason}")]
    InvalidDocument {
        /// The document.
        id: DocumentId,
        /// What is wrong with it.
        reason: String,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// As many writes as may wait are waiting.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Another process holds the data folder.
    #[error("the data folder {folder} is in use by {}", holder(*.pid))]
    Locked {
        /// The data folder.
        folder: String,
        /// The process, if it could be told.
        pid: Option<u32>,
    },
    /// The data folder or file cannot be written.
    #[error("{path} cannot be written: {reason}")]
    ReadOnly {
        /// The file or folder.
        path: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Failed(#[source] BoxError),
    /// The write's task ended before it could tell: the write may or may not be there.
    #[error("the write was cut off: {0}")]
    Cut(String),
    /// The file is from a newer Weir, or is damaged.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[source] BoxError),
}

/// An engine's own error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
