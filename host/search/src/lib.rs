//! Search over chunks: queries, hits, and the trait that each engine implements.
//!
//! [`filter`] is the one filter type; [`keyword`] weighs terms with statistics that are frozen
//! for an epoch; [`plan`] queries the legs and fuses their answers, the same way for every
//! engine; [`exact`] is the embedded engine, and the oracle that other engines are tested
//! against. A hit carries the content of its document, as it was at the position of the search.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use weir_core::Position;
use weir_core::name::{DocumentId, Name};
use weir_embedding::Embedding;

use crate::filter::Filter;

pub mod catch_up;
pub mod exact;
pub mod filter;
pub mod keyword;
pub mod plan;

/// What a hit represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A document, by its best chunk.
    Document,
    /// A chunk.
    Chunk,
}

/// One query of a collection. At least one of `nearest` and `text` is given; with both, the two
/// rankings are fused.
#[derive(Clone, Debug)]
pub struct Query {
    /// The collection to search.
    pub collection: Name,
    /// The vector for the dense leg.
    pub nearest: Option<Embedding>,
    /// The text for the keyword leg.
    pub text: Option<String>,
    /// Which documents can be found.
    pub filter: Option<Filter>,
    /// The lowest score of a hit: a cosine (dense), BM25 (keyword) or fused score.
    pub minimum_score: Option<f32>,
    /// What a hit represents.
    pub unit: Unit,
    /// The most hits to return.
    pub limit: u32,
    /// How many of the best hits to skip.
    pub offset: u32,
}

/// The text and metadata of one version of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The text.
    pub text: Arc<str>,
    /// Canonical JSON text of an object.
    pub metadata: Arc<str>,
    /// `metadata` parsed, which filters are matched against.
    fields: serde_json::Value,
}

impl Content {
    /// Parses `metadata`, which must be a JSON text.
    pub fn new(text: Arc<str>, metadata: Arc<str>) -> serde_json::Result<Self> {
        let fields = serde_json::from_str(&metadata)?;
        Ok(Self { text, metadata, fields })
    }
}

/// A found chunk. Hits are ordered best first, with ties ordered by document id, then by chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document.
    pub document: DocumentId,
    /// The version of the document that this chunk belongs to: the position of its change.
    pub version: Position,
    /// The index of the chunk within its document.
    pub chunk: u32,
    /// Cosine, BM25 or the fused score.
    pub score: f32,
    /// Byte offset of the chunk's start within the document's text.
    pub start: u32,
    /// Byte offset of its end.
    pub end: u32,
    /// The document's text and metadata in this version.
    pub content: Arc<Content>,
}

impl Hit {
    /// The text of the chunk.
    #[must_use]
    pub fn text(&self) -> &str {
        // An engine checks the ranges of its chunks before it publishes them.
        self.content.text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// An answer, and the position at which it is exact.
#[derive(Clone, Debug)]
pub struct Page {
    /// Best first.
    pub hits: Vec<Hit>,
    /// The position of the last change that the engine had applied when it searched.
    pub as_of: Position,
}

/// A chunk as it is indexed.
#[derive(Clone, Debug)]
pub struct IndexedChunk {
    /// Byte offset within the document's text.
    pub start: u32,
    /// Byte offset of the end.
    pub end: u32,
    /// Its vector.
    pub embedding: Embedding,
    /// Its terms and how often each occurs, sorted by term.
    pub terms: Vec<(Arc<str>, u32)>,
}

/// One change of the truth, as a derived store applies it.
#[derive(Clone, Debug)]
pub enum IndexChange {
    /// The document now has this content, whatever it had before.
    Put {
        /// The collection.
        collection: Name,
        /// The document.
        document: DocumentId,
        /// The position of the change.
        version: Position,
        /// Its text and metadata.
        content: Arc<Content>,
        /// All of its chunks, in order; empty for text without words.
        chunks: Vec<IndexedChunk>,
    },
    /// The document was deleted.
    Delete {
        /// The collection.
        collection: Name,
        /// The document.
        document: DocumentId,
    },
    /// The collection exists; it is empty if it is new.
    CreateCollection(Name),
    /// The collection was deleted with all of its documents.
    DropCollection(Name),
}

/// Why a search failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VectorError {
    /// The collection does not exist at the engine's position.
    #[error("there is no collection '{0}'")]
    UnknownCollection(Name),
    /// The query is invalid; the string says why.
    #[error("{0}")]
    InvalidQuery(String),
    /// The engine failed; the string is for the log.
    #[error("the vector store failed: {0}")]
    Failed(String),
}

/// An engine: an index of chunks that follows the truth's changes.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// The last position whose changes are all searchable.
    fn applied(&self) -> Position;

    /// Makes all of `changes` searchable and durable at once, or none, and moves `applied` to
    /// `up_to`. Idempotent: applying the same changes again changes nothing.
    async fn apply(&self, changes: Vec<IndexChange>, up_to: Position) -> Result<(), VectorError>;

    /// Returns the best hits for `query`, from the engine's legs and the host's fusion (see
    /// [`plan::answer`]).
    async fn search(&self, query: Query) -> Result<Page, VectorError>;
}
