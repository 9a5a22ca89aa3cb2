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
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// Another process holds the data folder.
    #[error("the data folder {0} is in use by another process")]
    Locked(String),
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
    Failed(#[from] sqlx::Error),
    /// The file is from a newer Weir, or is damaged.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}
