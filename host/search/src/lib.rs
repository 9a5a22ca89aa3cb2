//! Search over chunks: what a query asks, what a hit is, and the trait that each engine
//! implements one leg at a time.
//!
//! [`filter`] is the one filter type; [`keyword`] weighs terms with statistics that are
//! frozen for an epoch; [`search`] asks the legs and fuses them, the same for every engine;
//! [`exact`] is the embedded engine and the oracle of every other. Left out: texts and
//! metadata of hits, which are the truth's (`sql`).

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use weir_core::Position;
use weir_core::name::{DocumentId, Name};
use weir_embedding::Embedding;
use weir_store::ChunkRef;

use crate::filter::Filter;

pub mod catch_up;
pub mod exact;
pub mod filter;
pub mod keyword;
pub mod plan;

/// What a hit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A document, by its best chunk.
    Document,
    /// A chunk.
    Chunk,
}

/// One question to a collection. At least one of `nearest` and `text` is given; with both,
/// the two rankings are fused.
#[derive(Clone, Debug)]
pub struct Query {
    /// The collection asked.
    pub collection: Name,
    /// Dense evidence.
    pub nearest: Option<Embedding>,
    /// Keyword evidence.
    pub text: Option<String>,
    /// Which documents may be found.
    pub filter: Option<Filter>,
    /// Hits below it are left out: a cosine (dense), BM25 (keyword) or fused score.
    pub minimum_score: Option<f32>,
    /// What a hit is.
    pub unit: Unit,
    /// Most hits answered.
    pub limit: u32,
    /// Best hits passed over first.
    pub offset: u32,
}

/// A found chunk, best first; ties by document id, then chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document.
    pub document: DocumentId,
    /// The position of the document's change that this chunk is of: the truth's text
    /// belongs to the hit only while it has the same.
    pub version: Position,
    /// The chunk's number within its document.
    pub chunk: u32,
    /// Cosine, BM25 or the fused score.
    pub score: f32,
    /// Byte offset of the chunk's beginning within the document's text.
    pub start: u32,
    /// Byte offset of its end.
    pub end: u32,
}

impl Hit {
    /// What the truth finds the hit's text by.
    #[must_use]
    pub fn chunk_ref(&self) -> ChunkRef {
        let Self { version, start, end, .. } = *self;
        ChunkRef { document: self.document.clone(), version, start, end }
    }
}

/// An answer, and the position that it is exact at.
#[derive(Clone, Debug)]
pub struct Page {
    /// Best first.
    pub hits: Vec<Hit>,
    /// The last change that the engine had applied when it searched.
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
    /// The document is now this, whatever it was.
    Put {
        /// The collection.
        collection: Name,
        /// The document.
        document: DocumentId,
        /// The position of the change.
        version: Position,
        /// A JSON object.
        metadata: Arc<serde_json::Value>,
        /// All of its chunks, in order; none for a text without words.
        chunks: Vec<IndexedChunk>,
    },
    /// The document is gone.
    Delete {
        /// The collection.
        collection: Name,
        /// The document.
        document: DocumentId,
    },
    /// The collection exists, empty if it is new.
    CreateCollection(Name),
    /// The collection and all in it are gone.
    DropCollection(Name),
}

/// Why a search has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VectorError {
    /// No such collection at the engine's position.
    #[error("there is no collection '{0}'")]
    UnknownCollection(Name),
    /// The query asks for something impossible; the text says what.
    #[error("{0}")]
    InvalidQuery(String),
    /// The engine failed; the text is for the log.
    #[error("the vector store failed: {0}")]
    Failed(String),
}

/// An engine: an index of chunks that follows the truth's changes.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// The last position whose changes are all searchable.
    fn applied(&self) -> Position;

    /// Makes `changes` searchable and durable at once, all or none, and moves `applied` to
    /// `up_to`. Idempotent: the same changes again change nothing.
    async fn apply(&self, changes: Vec<IndexChange>, up_to: Position) -> Result<(), VectorError>;

    /// The best of `query`, by the engine's legs and the host's fusion (see [`search`]).
    async fn search(&self, query: Query) -> Result<Page, VectorError>;
}
