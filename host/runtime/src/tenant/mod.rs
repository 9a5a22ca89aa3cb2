//! A tenant: the owner of documents, of the order of their changes, and of everything that is
//! derived from them.
//!
//! Tenants share the models, the guest threads and the cache's memory. They never share what
//! they own, and every key begins with the tenant's name. Out of scope: which tenant a request
//! belongs to (`weir-server`), and quotas.

use std::sync::Arc;

use weir_cache::tag::TagTable;
use weir_core::Position;
use weir_core::name::Name;
use weir_search::VectorStore;
use weir_store::Truth;

use self::documents::{DocumentService, follow_commits};

pub mod config;
pub mod documents;

/// One tenant and its open stores.
pub struct Tenant {
    /// Its name.
    pub name: Name,
    /// Its documents, for reading.
    pub truth: Arc<dyn Truth>,
    /// The index that answers searches.
    pub vectors: Arc<dyn VectorStore>,
    /// The digest of the model that made the vectors in `vectors`.
    pub model_digest: Arc<str>,
    /// The position of the last change of everything that an answer can read.
    pub tags: Arc<TagTable>,
    /// The only way to write documents.
    pub documents: Arc<DocumentService>,
}

impl Tenant {
    /// Creates a tenant with these stores. From now on, commits of `truth` update `tags`.
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

    /// The position that a run that starts now can claim: everything that it reads is at least
    /// as new. The position of the tags is read first, so that the index can only be newer than
    /// what is claimed.
    #[must_use]
    pub fn as_of(&self) -> Position {
        self.tags.latest().min(self.vectors.applied())
    }
}
