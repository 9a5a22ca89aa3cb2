//! The trait of a tenant's truth: what every engine guarantees.

use async_trait::async_trait;
use tokio::sync::watch;
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use crate::{Change, Collection, Committed, Document, IdempotencyKey, NewDocument, TruthError};

/// Called with the changes of each commit, which all have the same position.
pub type CommitObserver = Box<dyn Fn(&[Change]) + Send + Sync>;

/// A tenant's documents and the single order of their changes.
///
/// Every write is one transaction, detached from its caller: once started it finishes, even if
/// the caller goes away. A write that changes something gets the next [`Position`]; a larger
/// position was committed later. Every read sees whole commits only.
#[async_trait]
pub trait Truth: Send + Sync {
    /// The position of the last commit, read from the engine.
    async fn position(&self) -> Result<Position, TruthError>;

    /// Follows the position of the last commit, whoever made it.
    fn committed(&self) -> watch::Receiver<Position>;

    /// Sets the observer that is told of every commit from now on: once per commit, in order of
    /// position, before the writer gets its answer. The observer must be quick and must not
    /// block, since the next write waits for it. Only the first observer is kept; returns
    /// whether this one was the first.
    fn observe_commits(&self, observer: CommitObserver) -> bool;

    /// The changes after a position, in order. Changes of one position are never separated, so
    /// the result can be longer than `limit`.
    async fn changes_after(&self, after: Position, limit: u32) -> Result<Vec<Change>, TruthError>;

    /// Creates the collection. The position is `None` if the collection already existed.
    async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Position>), TruthError>;

    /// Drops the collection with all of its documents. `None` if it did not exist.
    async fn drop_collection(&self, name: &Name) -> Result<Option<Position>, TruthError>;

    /// The collection, if it exists.
    async fn collection(&self, name: &Name) -> Result<Option<Collection>, TruthError>;

    /// All collections, by name.
    async fn collections(&self) -> Result<Vec<Collection>, TruthError>;

    /// Stores all of the documents or none. A document that is already stored with the same
    /// text, chunks and metadata is not a change.
    async fn put(
        &self,
        collection: &Name,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, TruthError>;

    /// Deletes the documents at one position. Ids that do not exist are skipped; `None` if none
    /// of them existed.
    async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Position>, TruthError>;

    /// The result of an earlier write under `key`, if there was one.
    async fn replay(&self, key: &IdempotencyKey) -> Result<Option<Committed>, TruthError>;

    /// The document as it is now.
    async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<Option<Document>, TruthError>;

    /// Waits for writes that have started, then closes the store. Later calls fail.
    async fn close(&self);
}
