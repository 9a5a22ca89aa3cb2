//! Search over chunks: queries, hits, and the traits that each engine implements.
//!
//! [`catch_up`] carries the truth's log into an engine and publishes the result in
//! [`progress`]: an immutable [`Snapshot`] of each collection, with the positions at which it is
//! exact. [`filter`] is the one filter type; [`keyword`] weighs terms with statistics that are
//! frozen for an epoch; [`budget`] bounds what a search may cost; [`plan`] queries the legs and fuses their answers, the same way for every
//! engine; [`exact`] is the embedded engine, and the oracle that other engines are tested
//! against. A hit carries the content of its document, as it was at the snapshot's position.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;

use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};
use weir_embedding::Embedding;
use weir_limits::threads::Account;

use crate::filter::Filter;

pub mod budget;
pub mod catch_up;
pub mod exact;
pub mod filter;
pub mod keyword;
pub mod plan;
pub mod progress;
#[cfg(test)]
mod testing;

/// What a hit represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A document, by its best chunk.
    Document,
    /// A chunk.
    Chunk,
}

/// One query of a collection's [`Snapshot`]. At least one of `nearest` and `text` is given; with both, the two
/// rankings are fused.
#[derive(Clone, Debug)]
pub struct Query {
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

/// One version of a document as it is indexed.
#[derive(Clone, Debug)]
pub struct IndexedDocument {
    /// The position of the change that wrote it.
    pub version: Position,
    /// Its text and metadata.
    pub content: Arc<Content>,
    /// All of its chunks, in order; empty for text without words.
    pub chunks: Vec<IndexedChunk>,
}

/// The net effect of a part of one collection's log: from the position that the engine has to
/// `up_to`.
#[derive(Clone, Debug)]
pub struct IndexPage {
    /// The collection.
    pub collection: Name,
    /// Its last line in this part of the log. The page makes the state at this commit.
    pub up_to: Commit,
    /// What happens to everything that the engine has of the collection.
    pub base: Base,
    /// Documents that are written, or deleted (`None`), on top of that; each once. Empty for
    /// [`Base::Gone`].
    pub documents: Vec<(DocumentId, Option<IndexedDocument>)>,
    /// The keyword statistics after the page.
    pub epoch: Epoch,
}

/// What a page starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The collection as the engine has it; empty if the engine does not have it.
    Kept,
    /// An empty collection: it is new, or was dropped and created again, or is rebuilt.
    Empty,
    /// No collection: it does not exist after the page.
    Gone,
}

/// Which keyword statistics a collection has after a page.
#[derive(Clone, Debug)]
pub enum Epoch {
    /// Those that it had. Empty ones for [`Base::Empty`].
    Kept,
    /// Those of the collection as it is after the page, whose last line is a roll.
    Rolled,
    /// These, of an epoch that began before the page.
    Given(Arc<keyword::Statistics>),
}

/// Why a search failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VectorError {
    /// The query is invalid; the string says why.
    #[error("{0}")]
    InvalidQuery(String),
    /// The query makes more [steps](budget) than a search may.
    #[error("the search takes too many steps")]
    TooCostly,
    /// The deadline has passed, or nobody waits for the search any more.
    #[error("the search did not finish in time")]
    TimedOut,
    /// The engine failed; the string is for the log.
    #[error("the vector store failed: {0}")]
    Failed(String),
}

/// One state of a collection that never changes, cheap to hold: what searches read. Holding one
/// keeps nobody from publishing the next.
#[async_trait]
pub trait Snapshot: Send + Sync + fmt::Debug {
    /// Returns the best hits for `query`, from the engine's legs and the host's fusion (see
    /// [`plan::answer`]). A search that takes long is done on the threads of `account`, which is
    /// charged for it. It stops soon after the deadline, or after the future is dropped.
    async fn search(
        &self,
        query: Query,
        deadline: Instant,
        account: &Account,
    ) -> Result<Vec<Hit>, VectorError>;

    /// The document's version and content, if it exists in this state.
    fn document(&self, id: &DocumentId) -> Option<(Position, Arc<Content>)>;

    /// The number of documents.
    fn documents(&self) -> u64;

    /// The statistics that weigh the terms of queries.
    fn statistics(&self) -> &Arc<keyword::Statistics>;
}

/// What an engine has of a collection.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The last line of the collection that is applied.
    pub last: Commit,
    /// The state after that line; `None` if the collection does not exist then.
    pub snapshot: Option<Arc<dyn Snapshot>>,
}

/// An engine: an index of chunks that follows the truth's log, collection by collection.
///
/// Only the [`catch_up`] changes it. Pages of different collections may be applied at the same
/// time; those of one are applied in order.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Everything that the engine has, by collection; also collections that do not exist any
    /// more, until [`complete`](Self::complete) has passed their last lines.
    fn stored(&self) -> HashMap<Name, Stored>;

    /// The commit up to which the engine has applied the whole log, of all collections.
    fn completed(&self) -> Commit;

    /// Makes the page durable, all of it or nothing, and returns the collection's new state. It
    /// is not lost by a crash afterwards, so the caller may show it to readers.
    async fn apply(&self, page: IndexPage) -> Result<Option<Arc<dyn Snapshot>>, VectorError>;

    /// Records durably that the whole log up to `commit` is applied, so that it may be trimmed.
    async fn complete(&self, commit: Commit) -> Result<(), VectorError>;

    /// Removes everything: the engine is empty and has applied nothing.
    async fn clear(&self) -> Result<(), VectorError>;
}
