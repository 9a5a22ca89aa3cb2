//! The log of changes, as readers see it.

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

/// A line of the log of changes: what to look at again, not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its position; all changes of one commit share it.
    pub position: Position,
    /// The collection.
    pub collection: Name,
    /// What changed.
    pub kind: ChangeKind,
}

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The collection was made.
    CollectionCreated,
    /// The collection was deleted with all in it.
    CollectionDeleted,
    /// The document was written.
    DocumentPut(DocumentId),
    /// The document was deleted.
    DocumentDeleted(DocumentId),
}
