//! What the truth keeps: documents with their chunks, collections, and what a write did.

use std::ops::Range;
use std::sync::Arc;

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

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

/// A chunk of one version of a document, by which its text is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// The document.
    pub document: DocumentId,
    /// The position of the change that made this version of it.
    pub version: Position,
    /// Byte offset of the chunk within the document's text.
    pub start: u32,
    /// Byte offset of its end.
    pub end: u32,
}

/// A hit's text and metadata, as the truth has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitText {
    /// The chunk's text.
    pub text: Arc<str>,
    /// Canonical JSON text of the document's metadata.
    pub metadata: Arc<str>,
}
