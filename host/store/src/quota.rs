//! The most that a tenant may store, and what is refused beyond it.

use std::fmt;

/// The most that a tenant may store. `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Documents in all of its collections.
    pub max_documents: Option<u64>,
    /// Bytes of the texts and metadata of its documents, as they are now.
    pub max_bytes: Option<u64>,
    /// Collections.
    pub max_collections: Option<u64>,
}

impl Quota {
    /// No limits.
    pub const NONE: Self = Self { max_documents: None, max_bytes: None, max_collections: None };
}

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// [`Quota::max_documents`].
    Documents,
    /// [`Quota::max_bytes`].
    Bytes,
    /// [`Quota::max_collections`].
    Collections,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Documents => "documents",
            Self::Bytes => "bytes of texts and metadata",
            Self::Collections => "collections",
        })
    }
}
