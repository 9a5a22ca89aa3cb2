//! The log of changes, as its readers see it.

use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit, Position};

/// A line of the log of changes. It names what changed, not how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The commit, shared by all of its lines.
    pub commit: Commit,
    /// When it was committed, by the wall clock, in milliseconds since 1970.
    pub committed_unix_ms: u64,
    /// What changed in the collection.
    pub kind: ChangeKind,
}

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The collection was created.
    CollectionCreated,
    /// The collection was deleted with all of its documents.
    CollectionDeleted,
    /// The document was written, and its version is the position of the commit; or the version
    /// that it has was set aside.
    DocumentPut(DocumentId),
    /// The document was deleted.
    DocumentDeleted(DocumentId),
    /// The commit starts a new epoch of the collection's keyword statistics: from here on, they
    /// are those of the collection right after this commit. The last line of its commit.
    Rolled,
    /// From this commit on, the chunks and vectors of all documents are another model's, and a new
    /// epoch of keyword statistics starts, as after [`Rolled`](Self::Rolled). The only line of its
    /// commit in each collection.
    ModelChanged,
}

/// What a reader of the whole log learns at once: which collections have new lines, and what was
/// invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The last commit.
    pub head: Commit,
    /// The last line of each collection that has lines after the asked position, by name.
    pub collections: Vec<(Name, Position)>,
    /// What was invalidated after the asked position.
    pub invalidations: Invalidations,
}

/// What administrators have invalidated: nothing that was made before an invalidation may be served
/// from a cache after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidations {
    /// Everything was invalidated at this position. There may have been others before it.
    pub before: Position,
    /// In the order of their positions.
    pub kept: Vec<Invalidation>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// Its commit's position.
    pub position: Position,
    /// When it was committed, by the wall clock, in milliseconds since 1970. `None` if that is not
    /// known any more.
    pub committed_unix_ms: Option<u64>,
    /// What is invalidated, as it was given.
    pub what: String,
    /// Whether policies decide for how long it may still be served.
    pub is_soft: bool,
}

/// When everything changed last, by the names of collections. Unlike the log, this is never trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChanges {
    /// The last line of each collection that exists, and of those that were dropped last.
    pub collections: Vec<(Name, Position)>,
    /// Every other collection has no line after this position. The last change of the model is not
    /// after it either.
    pub others: Position,
    /// What was invalidated.
    pub invalidations: Invalidations,
}

/// What the truth knows about a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It is the position of a commit with this chain value.
    Known(Chain),
    /// It was a commit of this or of another history; its chain value is no longer kept.
    Forgotten,
    /// No commit has had this position yet.
    NotYet,
}

/// The statistics of an epoch, as the derived store encoded them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStatistics {
    /// The position of the roll.
    pub epoch: Position,
    /// The encoded statistics.
    pub encoded: Vec<u8>,
}
