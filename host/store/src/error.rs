//! Errors of the stores. Engines convert their own errors, so engine-specific types stay
//! inside.

use thiserror::Error;
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use crate::Quantity;

/// Why a store operation failed.
#[derive(Debug, Error)]
pub enum TruthError {
    /// The collection does not exist.
    #[error("there is no collection '{0}'")]
    UnknownCollection(Name),
    /// The tenant has as many collections as it is allowed.
    #[error("there are already {limit} collections, and no more are allowed")]
    TooManyCollections {
        /// The most collections that a tenant can have.
        limit: u32,
    },
    /// The tenant would have more than its quota.
    #[error("the tenant may have at most {limit} {of}, and would have {wanted}")]
    QuotaExceeded {
        /// What it would have more of.
        of: Quantity,
        /// How much it would have.
        wanted: u64,
        /// How much it may have.
        limit: u64,
    },
    /// One write has more documents than allowed.
    #[error("a write takes at most {limit} documents")]
    TooManyDocuments {
        /// The most documents in one write.
        limit: usize,
    },
    /// One write names a document twice.
    #[error("the document '{0}' is given twice")]
    DuplicateDocument(DocumentId),
    /// The document could be stored but never indexed.
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
    /// The state at this position is no longer kept.
    #[error("the state at position {at} is no longer kept: the history begins at {trimmed}")]
    Trimmed {
        /// The position that was asked for.
        at: Position,
        /// The first position that can be read.
        trimmed: Position,
    },
    /// Too much history waits to be indexed, so that it cannot be trimmed.
    #[error(
        "{bytes} bytes of history wait for the search index, and at most {limit} may: try again \
         when the index has caught up"
    )]
    BacklogFull {
        /// The size of the history.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// The queue of waiting writes is full, or no connection was free in time.
    #[error("too many requests are waiting for the database")]
    Overloaded,
    /// Another process holds the data folder.
    #[error("the data folder {folder} is in use by {}", holder(*.pid))]
    Locked {
        /// The data folder.
        folder: String,
        /// The id of that process, if it is known.
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
    /// The write's task ended before it reported a result. The write may or may not be stored.
    #[error("the write was interrupted: {0}")]
    Cut(String),
    /// The file is damaged or from a newer Weir.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[source] BoxError),
}

/// An engine's own error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
