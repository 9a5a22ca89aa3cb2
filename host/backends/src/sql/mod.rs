//! The SQL truth: collections, documents, their chunks, positions and the log of changes.
//!
//! [`sqlite`] is the embedded default, one file a tenant. Left out: what is derived from it
//! (`vector`), and declared statements.

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use crate::Position;
use crate::name::{DocumentId, Name};

pub mod sqlite;

/// A document to store: validated, and already split.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Its id within the collection.
    pub id: DocumentId,
    /// Its text.
    pub text: Arc<str>,
    /// Canonical JSON text of an object.
    pub metadata: Arc<str>,
    /// Byte ranges of its chunks within `text`.
    pub chunks: Vec<Range<u32>>,
}

/// A document of the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id within the collection.
    pub id: DocumentId,
    /// Its text.
    pub text: Arc<str>,
    /// Canonical JSON text of an object.
    pub metadata: Arc<str>,
    /// The position of its last change.
    pub version: Position,
    /// Byte ranges of its chunks within `text`.
    pub chunks: Vec<Range<u32>>,
}

/// The part of a document's `text` that a chunk is.
#[must_use]
pub fn chunk_text<'t>(text: &'t str, chunk: &Range<u32>) -> Option<&'t str> {
    text.get(chunk.start as usize..chunk.end as usize)
}

/// A collection of the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: Name,
    /// The position of its creation.
    pub created: Position,
    /// Documents in it.
    pub documents: u64,
}

/// A client's promise that two requests with the same key are the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key, 1 to 255 bytes.
    pub key: String,
    /// A digest of what was asked: another request under the same key is refused.
    pub fingerprint: [u8; 32],
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The position of the (first) commit.
    pub position: Position,
    /// Whether the request had been carried out before, under its idempotency key.
    pub replayed: bool,
}

/// A line of the log of changes: what to look at again, not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its position; all changes of one commit share it.
    pub position: Position,
    /// The collection.
    pub collection: Name,
    /// What changed.
    pub kind: ChangeKind,
}

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The collection was made.
    CollectionCreated,
    /// The collection was deleted with all in it.
    CollectionDeleted,
    /// The document was written.
    DocumentPut(DocumentId),
    /// The document was deleted.
    DocumentDeleted(DocumentId),
}

/// A hit's text and metadata, as the truth has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitText {
    /// The chunk's text.
    pub text: Arc<str>,
    /// Canonical JSON text of the document's metadata.
    pub metadata: Arc<str>,
}

/// Why the truth did not answer.
#[derive(Debug, Error)]
pub enum SqlError {
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
    Failed(#[source] sqlx::Error),
    /// The write's task ended before it could tell: the write may or may not be there.
    #[error("the write was cut off: {0}")]
    Cut(String),
    /// The file is from a newer Weir, or is damaged.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Overloaded,
            error => Self::Failed(error),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
