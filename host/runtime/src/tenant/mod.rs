//! A tenant: the owner of documents, of the order of their changes, and of everything that is
//! derived from them.
//!
//! Tenants share the models and the guest threads. They never share what
//! they own, and every key begins with the tenant's name. Out of scope: which tenant a request
//! belongs to and how many it may send (`weir-server`), and how much may be stored for it, which the truth
//! checks.

use std::sync::Arc;

use weir_cache::tag::TagTable;
use weir_core::Position;
use weir_core::name::Name;
use weir_search::catch_up::CatchUp;
use weir_search::progress::Progress;
use weir_store::Truth;

use self::documents::DocumentService;
use self::history::History;
use self::reading::Reading;

pub mod config;
pub mod documents;
pub mod history;
pub mod invalidation;
pub mod reading;

/// One tenant and its open stores.
pub struct Tenant {
    /// Its name.
    pub name: Name,
    /// Its documents, for what does not go through the index.
    pub truth: Arc<dyn Truth>,
    /// Which commits are the truth's.
    pub history: History,
    /// What searches read, and the positions at which it is exact.
    pub progress: Arc<Progress>,
    /// The position of the last change of everything that an answer can read.
    pub tags: Arc<TagTable>,
    /// The only way to write documents.
    pub documents: Arc<DocumentService>,
}

impl Tenant {
    /// Creates a tenant with these stores. `catch_up` moves `tags`: see [`invalidation`].
    #[must_use]
    pub fn new(
        name: Name,
        truth: Arc<dyn Truth>,
        catch_up: &CatchUp,
        tags: Arc<TagTable>,
        documents: Arc<DocumentService>,
    ) -> Self {
        let progress = Arc::clone(catch_up.progress());
        let history = History::new(Arc::clone(&truth));
        Self { name, truth, history, progress, tags, documents }
    }

    /// The state that a run reads, for an answer that states `at_least` or later.
    #[must_use]
    pub fn reading(&self, at_least: Position) -> Reading {
        Reading::new(Arc::clone(&self.progress), at_least)
    }

    /// The earliest position that an answer to a request may state that demands `at_least`.
    #[must_use]
    pub fn at_least(&self, at_least: Position) -> Position {
        self.progress.read(|view| view.required().max(at_least))
    }
}
