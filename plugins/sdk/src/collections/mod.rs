//! Searching collections. Needs the grant `weir:vector/collections`, whose scope names the
//! collections.
//!
//! ```no_run
//! # use weir_sdk::{Failure, collections::*, embedding};
//! # async fn hybrid() -> Result<(), Failure> {
//! let words = "how does borrowing work";
//! let vector = embedding::embed(None, words).await?;
//! let query = Query::new(10)
//!     .nearest(&vector)
//!     .text(words)
//!     .filter(Filter::default().must("chapter", Predicate::Equals("ownership".into())));
//! let hits = Collection::open("rust-book")?.search(query).await?;
//! # Ok(()) }
//! ```

mod query;

pub use query::{Condition, Filter, Predicate, Query, Unit, Value};

use crate::bindings::pipeline::weir::vector::collections;
use crate::bindings::pipeline::weir::vector::types as wit;

/// One of the tenant's collections, open for searching.
#[derive(Debug)]
pub struct Collection(wit::Collection);

impl Collection {
    /// Opens the collection of this name. Whether it exists is not checked here:
    /// [`search`](Self::search) and [`get`](Self::get) report that.
    ///
    /// # Errors
    /// The grant does not cover it, or the name is not valid.
    pub fn open(name: &str) -> Result<Self, VectorError> {
        Ok(Self(collections::open(name)?))
    }

    /// The name with which it was opened.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// The best hits of a query.
    ///
    /// # Errors
    /// There are no hits. A search that finds nothing is not an error.
    pub async fn search(&self, query: Query<'_>) -> Result<Hits, VectorError> {
        Ok(Hits(collections::search(&self.0, query.into_wit()).await?))
    }

    /// Whole documents by id, in the order of the ids. Documents that do not exist are left out.
    /// Each document is one hit with score 1 that covers all of its text.
    ///
    /// # Errors
    /// There are no hits. A document that does not exist is not an error.
    pub async fn get(
        &self,
        ids: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Hits, VectorError> {
        let ids = ids.into_iter().map(Into::into).collect();
        Ok(Hits(collections::get(&self.0, ids).await?))
    }
}

/// A chunk that was found, or the best chunk of a document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document's id.
    pub id: String,
    /// The chunk's number in its document, from 0.
    pub chunk: u32,
    /// Higher is better. Scores of different searches cannot be compared.
    pub score: f32,
    /// Where the chunk begins: a byte offset in the document's text, as UTF-8.
    pub start: u32,
    /// Where the chunk ends: the byte offset after its last byte.
    pub end: u32,
}

/// Ranked hits, kept by the host. Indices count from 0.
#[derive(Debug)]
pub struct Hits(pub(crate) wit::Hits);

impl Hits {
    /// All hits, best first.
    #[must_use]
    pub fn ranking(&self) -> Vec<Hit> {
        let hit = |hit: wit::Hit| {
            let wit::Hit { id, chunk, score, start, end } = hit;
            Hit { id, chunk, score, start, end }
        };
        self.0.ranking().into_iter().map(hit).collect()
    }

    /// The chunk's text; `None` if there is no such index.
    #[must_use]
    pub fn text(&self, index: u32) -> Option<String> {
        self.0.text(index)
    }

    /// The document's metadata, a JSON object as canonical text; `None` if there is no such index.
    #[must_use]
    pub fn metadata(&self, index: u32) -> Option<String> {
        self.0.metadata(index)
    }

    /// The hits of these indices, in this order, for rerankers.
    ///
    /// # Errors
    /// An index does not exist or is given twice.
    pub fn reorder(&self, indices: &[u32]) -> Result<Self, VectorError> {
        Ok(Self(self.0.reorder(indices)?))
    }
}

/// Why there are no hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VectorError {
    /// There is no collection of this name.
    UnknownCollection(String),
    /// The grant does not cover the collection of this name.
    Denied(String),
    /// The call breaks a rule.
    Invalid(String),
    /// The request has passed more bytes to the host than it may, or made the host keep more.
    QuotaExceeded,
    /// Answering the query takes more work than a search may cause.
    TooCostly,
    /// A store does not answer. A later request may succeed.
    Unavailable(String),
    /// The request's deadline has passed.
    TimedOut,
    /// A store failed.
    Failed(String),
}

impl From<wit::VectorError> for VectorError {
    fn from(error: wit::VectorError) -> Self {
        match error {
            wit::VectorError::UnknownCollection(name) => Self::UnknownCollection(name),
            wit::VectorError::Denied(name) => Self::Denied(name),
            wit::VectorError::Invalid(reason) => Self::Invalid(reason),
            wit::VectorError::QuotaExceeded => Self::QuotaExceeded,
            wit::VectorError::TooCostly => Self::TooCostly,
            wit::VectorError::Unavailable(reason) => Self::Unavailable(reason),
            wit::VectorError::TimedOut => Self::TimedOut,
            wit::VectorError::Failed(reason) => Self::Failed(reason),
        }
    }
}
