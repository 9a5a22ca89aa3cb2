//! What the truth stores (documents with their chunks, and collections) and what a write
//! reports.

use std::ops::Range;
use std::sync::Arc;

use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

/// A document to store, already validated and split into chunks.
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
    /// The digest of the model whose tokenizer split it.
    pub split_by: Arc<str>,
}

/// A stored document.
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
    /// The digest of the model whose tokenizer split it; empty if no model was ever chosen.
    pub split_by: Arc<str>,
    /// Why this version cannot be indexed, if it is set aside: searches do not find it.
    pub set_aside: Option<Arc<str>>,
}

/// A document whose current version is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its collection.
    pub collection: Name,
    /// Its id within the collection.
    pub id: DocumentId,
    /// The position of its last change.
    pub version: Position,
    /// Why it cannot be indexed.
    pub reason: Arc<str>,
}

/// The documents whose current versions are set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAsides {
    /// How many there are.
    pub documents: u64,
    /// The first of them, by collection and id.
    pub first: Vec<SetAside>,
}

/// The text of a chunk; `None` if the range is not valid in the document's `text`.
#[must_use]
pub fn chunk_text<'t>(text: &'t str, chunk: &Range<u32>) -> Option<&'t str> {
    text.get(chunk.start as usize..chunk.end as usize)
}

/// A stored collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: Name,
    /// The commit that created it.
    pub created: Commit,
    /// How many documents it has.
    pub documents: u64,
    /// The bytes of their texts and metadata.
    pub bytes: u64,
}

/// The model whose vectors and chunks the answers are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Identifies the files of the model and of its tokenizer.
    pub digest: String,
    /// The position of the change to this model; zero for the first one.
    pub since: Position,
}

/// A client's promise that two requests with the same key are the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key, 1 to 255 bytes.
    pub key: String,
    /// A digest of the request. A different request under the same key is refused.
    pub fingerprint: [u8; 32],
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The commit at which the write is visible: its own, or the last one before it if it
    /// changed nothing. For a replayed request, that of the first one.
    pub commit: Commit,
    /// Whether the request had already been carried out under its idempotency key.
    pub replayed: bool,
}
