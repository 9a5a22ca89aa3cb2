//! The trait of a tenant's truth: what every engine promises.

use async_trait::async_trait;
use tokio::sync::watch;
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use crate::{
    Change, ChunkRef, Collection, Committed, Document, HitText, IdempotencyKey, NewDocument,
    TruthError,
};

/// Called with the changes of each commit, all at one position.
pub type CommitObserver = Box<dyn Fn(&[Change]) + Send + Sync>;

/// A tenant's documents and the one order of their changes.
///
/// Every write is one transaction, detached from its caller: once it has begun it ends, also
/// when the caller goes away. It gets the next [`Position`]; a larger position was committed
/// later. Every read sees whole commits only.
#[async_trait]
pub trait Truth: Send + Sync {
    /// The position of the last commit, asked of the engine.
    async fn position(&self) -> Result<Position, TruthError>;

    /// Follows the position of the last commit, whoever made it.
    fn committed(&self) -> watch::Receiver<Position>;

    /// Sets who is told of every commit from now on: once for each, in the order of positions,
    /// before the writer is answered. The observer must be quick and must not block, since the
    /// next write waits for it. The first observer stays; returns whether this one was it.
    fn observe_commits(&self, observer: CommitObserver) -> bool;

    /// The changes after a position, in order, at least `limit` lines where there are that
    /// many: all changes of one position come together.
    async fn changes_after(&self, after: Position, limit: u32) -> Result<Vec<Change>, TruthError>;

    /// Creates the collection; the position is `None` when it existed already.
    async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Position>), TruthError>;

    /// Drops the collection with all of its documents; `None` when it did not exist.
    async fn drop_collection(&self, name: &Name) -> Result<Option<Position>, TruthError>;

    /// The collection, if it exists.
    async fn collection(&self, name: &Name) -> Result<Option<Collection>, TruthError>;

    /// All collections, by name.
    async fn collections(&self) -> Result<Vec<Collection>, TruthError>;

    /// Stores the documents, all or none. A document that is already stored with the same text,
    /// chunks and metadata is not a change.
    async fn put(
        &self,
        collection: &Name,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, TruthError>;

    /// Deletes the documents, all at one position; ids that do not exist are passed over.
    /// `None` when none of them existed.
    async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Position>, TruthError>;

    /// What an earlier write under `key` did.
    async fn replay(&self, key: &IdempotencyKey) -> Result<Option<Committed>, TruthError>;

    /// The document as it is now.
    async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<Option<Document>, TruthError>;

    /// The text and metadata of each chunk, in order; `None` for a chunk of a version that is
    /// no longer the document's.
    async fn hit_texts(
        &self,
        collection: &Name,
        chunks: &[ChunkRef],
    ) -> Result<Vec<Option<HitText>>, TruthError>;

    /// Lets writes that have begun end, and closes the store. Later calls fail.
    async fn close(&self);
}
