//! The log of changes, as its readers see it.

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

/// An entry of the log of changes. It names what changed, not how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its position, shared by all changes of one commit.
    pub position: Position,
    /// The collection.
    pub collection: Name,
    /// What changed.
    pub kind: ChangeKind,
}

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The collection was created.
    CollectionCreated,
    /// The collection was deleted with all of its documents.
    CollectionDeleted,
    /// The document was written.
    DocumentPut(DocumentId),
    /// The document was deleted.
    DocumentDeleted(DocumentId),
}
