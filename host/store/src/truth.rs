//! The trait of a tenant's truth: what every engine guarantees.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use crate::{
    Change, Collection, Committed, Document, IdempotencyKey, KeptStatistics, LastChanges, Model,
    NewDocument, News, Past, SetAsides, TruthError,
};

/// Identifies one truth: random, given when it is created. A restored copy has the same id; the
/// [chain values](weir_core::Chain) of its commits tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruthId(pub [u8; 16]);

impl fmt::Display for TruthId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What only the truth's own nodes know: random, given when it is created. A restored copy has the
/// same one.
#[derive(Clone, Copy)]
pub struct TruthSecret(pub [u8; 32]);

impl fmt::Debug for TruthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TruthSecret(…)")
    }
}

/// A tenant's documents and the single order of their changes.
///
/// Every write is one transaction, detached from its caller: once started it finishes, even if
/// the caller goes away. A write that changes something gets the next [`Position`]; a larger
/// position was committed later. Every read sees whole commits only.
///
/// Documents are kept by version: a state that was superseded stays readable until
/// [`trim`](Truth::trim) forgets it. Reading at a position that is trimmed gives
/// [`TruthError::Trimmed`].
#[async_trait]
pub trait Truth: Send + Sync {
    /// The truth's id.
    fn id(&self) -> TruthId;

    /// The truth's secret.
    fn secret(&self) -> TruthSecret;

    /// The last commit, read from the engine.
    async fn head(&self) -> Result<Commit, TruthError>;

    /// Follows the last commit, whoever made it. May lag behind what a read of the log sees.
    fn committed(&self) -> watch::Receiver<Commit>;

    /// Whether the last write that was tried reached the disk, as far as the engine is concerned:
    /// `false` while the disk is full.
    fn is_writable(&self) -> bool;

    /// What is known about `position`: its chain value, if it is kept.
    async fn history(&self, position: Position) -> Result<Past, TruthError>;

    /// The commit up to which history is forgotten: states before it cannot be read, and the log
    /// begins after it.
    async fn trimmed(&self) -> Result<Commit, TruthError>;

    /// The last commit, and the collections that have lines after `after`, and what was invalidated
    /// after it. At least everything
    /// up to the last commit is seen. Fails if `after` is before [`trimmed`](Self::trimmed).
    async fn news(&self, after: Position) -> Result<News, TruthError>;

    /// The lines of one collection after a position, in order. Lines of one commit are never
    /// separated, so the result can be longer than `limit`. Fails if `after` is before
    /// [`trimmed`](Self::trimmed).
    async fn log(
        &self,
        collection: &Name,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Change>, TruthError>;

    /// When everything changed last, as of the last commit.
    async fn last_changes(&self) -> Result<LastChanges, TruthError>;

    /// The documents among `ids` that existed at the position, in the version that they had.
    async fn documents_at(
        &self,
        collection: &Name,
        ids: &[DocumentId],
        at: Position,
    ) -> Result<Vec<Document>, TruthError>;

    /// All documents that existed at the position, by id, in pages: those after `after`, at most
    /// `limit`. `None` if the collection did not exist then.
    async fn scan(
        &self,
        collection: &Name,
        at: Position,
        after: Option<&DocumentId>,
        limit: u32,
    ) -> Result<Option<Vec<Document>>, TruthError>;

    /// The names of the collections that existed at the position, sorted.
    async fn collections_at(&self, at: Position) -> Result<Vec<Name>, TruthError>;

    /// Keeps the statistics of the epoch that begins at `statistics.epoch`, a roll of the
    /// collection. Has no effect if that line, or the collection, is gone.
    async fn keep_statistics(
        &self,
        collection: &Name,
        statistics: KeptStatistics,
    ) -> Result<(), TruthError>;

    /// The statistics of the collection's epoch at the position. `None` if they were never kept,
    /// or if the collection had not rolled yet.
    async fn statistics_at(
        &self,
        collection: &Name,
        at: Position,
    ) -> Result<Option<KeptStatistics>, TruthError>;

    /// Forgets the log up to `to` and the versions that ended by then. Keeps more if that is
    /// needed: statistics of an epoch at the new position must be kept first. Returns what
    /// [`trimmed`](Self::trimmed) is now. Deletes in short transactions, so that writers are not
    /// held up; if it is cut short, the next call goes on.
    async fn trim(&self, to: Position) -> Result<Commit, TruthError>;

    /// Roughly how many bytes the log and the ended versions take, which trimming frees.
    fn backlog_bytes(&self) -> u64;

    /// Creates the collection. `None` instead of the commit if the collection already existed.
    async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Commit>), TruthError>;

    /// Drops the collection with all of its documents. `None` if it did not exist.
    async fn drop_collection(&self, name: &Name) -> Result<Option<Commit>, TruthError>;

    /// The collection, if it exists, and the last commit: that is how it is there.
    async fn collection(&self, name: &Name) -> Result<(Option<Collection>, Commit), TruthError>;

    /// All collections, by name, and the last commit: that is how they are there.
    async fn collections(&self) -> Result<(Vec<Collection>, Commit), TruthError>;

    /// Stores all of the documents or none. A document that is already stored with the same
    /// text, chunks and metadata is not a change, unless it is set aside: then it is written
    /// again, and the new version is not set aside.
    async fn put(
        &self,
        collection: &Name,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, TruthError>;

    /// Deletes the documents in one commit. Ids that do not exist are skipped; `None` if none
    /// of them existed.
    async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Commit>, TruthError>;

    /// The result of an earlier write under `key`, if there was one.
    async fn replay(&self, key: &IdempotencyKey) -> Result<Option<Committed>, TruthError>;

    /// The document as it is now, and the last commit: that is how it is there.
    async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<(Option<Document>, Commit), TruthError>;

    /// Marks a version of a document as one that cannot be indexed, durably: whoever indexes it
    /// from now on gives it no chunks. It must be marked before an index shows it, and whoever
    /// may have shown it with chunks must not show a state before the returned commit any more.
    /// That is the mark's own commit if the version is current, so that there is a line to see
    /// it by, and otherwise the last one. Has no effect if the version is set aside already, or
    /// is gone. `reason` is for people, and should be short.
    async fn set_aside(
        &self,
        collection: &Name,
        id: &DocumentId,
        version: Position,
        reason: &str,
    ) -> Result<Commit, TruthError>;

    /// The documents that are set aside now: their number, and at most `limit` of them.
    async fn documents_set_aside(&self, limit: u32) -> Result<SetAsides, TruthError>;

    /// The model whose vectors and chunks the answers are made of; `None` until one is chosen.
    async fn model(&self) -> Result<Option<Model>, TruthError>;

    /// Changes the model, in a commit of its own, which is returned: the last one if it is the
    /// model already, or the first. Each collection has a line about it. What answers states
    /// before the commit must be made with the old model, and what answers states from it on with
    /// the new one.
    async fn change_model(&self, digest: &str) -> Result<Commit, TruthError>;

    /// Commits that `what` is invalidated, in a commit of its own, which is returned. The truth does not
    /// know what it means, and keeps it forever, or until too many were committed after it: then
    /// everything counts as invalidated there.
    async fn invalidate(&self, what: &str, is_soft: bool) -> Result<Commit, TruthError>;

    /// Waits for writes that have started, then closes the store. Later calls fail.
    async fn close(&self);
}
