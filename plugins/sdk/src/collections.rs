//! Search. Needs the grant `weir:vector/collections`.
//!
//! ```no_run
//! # use weir_sdk::{Failure, collections::*, embedding};
//! # async fn hybrid() -> Result<(), Failure> {
//! let words = "how does borrowing work";
//! let vector = embedding::embed("", words).await?;
//! let query = Query::new(10)
//!     .nearest(&vector)
//!     .text(words)
//!     .filter(Filter::default().must("chapter", Predicate::Equals("ownership".into())));
//! let hits = Collection::open("rust-book")?.search(query).await?;
//! # Ok(()) }
//! ```

pub use crate::bindings::pipeline::weir::vector::collections::{
    Collection, Condition, Filter, Predicate, Query, Unit, Value, VectorError,
};
pub use crate::bindings::pipeline::weir::vector::types::{Hit, Hits};

use crate::embedding::Embedding;

impl<'a> Query<'a> {
    /// A query for at most `limit` documents. Without evidence yet: the host refuses one that
    /// has neither [`nearest`](Query::nearest) nor [`text`](Query::text).
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            nearest: None,
            text: None,
            filter: None,
            minimum_score: None,
            unit: Unit::Document,
            limit,
            offset: 0,
        }
    }

    /// Ranks by nearness to this vector.
    #[must_use]
    pub fn nearest(mut self, embedding: &'a Embedding) -> Self {
        self.nearest = Some(embedding);
        self
    }

    /// Ranks by these words.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Finds only documents that pass.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Leaves out hits below this score.
    #[must_use]
    pub fn minimum_score(mut self, score: f32) -> Self {
        self.minimum_score = Some(score);
        self
    }

    /// Finds chunks instead of documents.
    #[must_use]
    pub fn chunks(mut self) -> Self {
        self.unit = Unit::Chunk;
        self
    }

    /// Passes over this many of the best hits.
    #[must_use]
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }
}

impl Default for Filter {
    /// Passes every document.
    fn default() -> Self {
        Self { must: Vec::new(), should: Vec::new(), must_not: Vec::new() }
    }
}

impl Filter {
    /// Also demands this of `field`.
    #[must_use]
    pub fn must(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.must.push(Condition { field: field.into(), predicate });
        self
    }

    /// Adds an alternative: of all of them, at least one must hold.
    #[must_use]
    pub fn should(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.should.push(Condition { field: field.into(), predicate });
        self
    }

    /// Also forbids this of `field`.
    #[must_use]
    pub fn must_not(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.must_not.push(Condition { field: field.into(), predicate });
        self
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}
