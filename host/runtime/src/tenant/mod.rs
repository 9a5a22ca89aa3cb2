//! A tenant: the owner of documents, of the order of their changes, and of everything that is
//! derived from them.
//!
//! Tenants share the models, the guests' threads and the cache's memory; what they own they
//! never share, and every key begins with the tenant's name. Out of scope: which request is
//! whose (`weir-server`), and quotas.

use std::sync::Arc;

use weir_cache::tag::TagTable;
use weir_core::Position;
use weir_core::name::Name;
use weir_search::VectorStore;
use weir_store::Truth;

use self::documents::{DocumentService, follow_commits};

pub mod config;
pub mod documents;

/// One tenant's stores, open.
pub struct Tenant {
    /// Its name.
    pub name: Name,
    /// Its documents, for reading.
    pub truth: Arc<dyn Truth>,
    /// What searches are asked of.
    pub vectors: Arc<dyn VectorStore>,
    /// The digest of the model that `vectors` is an index of.
    pub model_digest: Arc<str>,
    /// The last position of everything that an answer can read.
    pub tags: Arc<TagTable>,
    /// The one way in for documents.
    pub documents: Arc<DocumentService>,
}

impl Tenant {
    /// A tenant of these stores. Commits of `truth` move `tags` from now on.
    #[must_use]
    pub fn new(
        name: Name,
        truth: Arc<dyn Truth>,
        vectors: Arc<dyn VectorStore>,
        model_digest: &str,
        tags: Arc<TagTable>,
        documents: Arc<DocumentService>,
    ) -> Self {
        follow_commits(&*truth, Arc::clone(&tags));
        Self { name, truth, vectors, model_digest: model_digest.into(), tags, documents }
    }

    /// The position that a run which begins now can claim: everything that it reads is at least
    /// as new. The tags' position first, so that what the engine has applied can only be newer
    /// than what is claimed.
    #[must_use]
    pub fn as_of(&self) -> Position {
        self.tags.latest().min(self.vectors.applied())
    }
}
