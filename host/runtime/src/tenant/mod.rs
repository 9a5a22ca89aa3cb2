//! A tenant: the owner of documents, of the order of their changes, and of everything that is
//! derived from them.
//!
//! Tenants share the models and the guest threads. They never share what
//! they own, and every key begins with the tenant's name. Out of scope: which tenant a request
//! belongs to and how many it may send (`weir-server`), and how much may be stored for it, which the truth
//! checks.

use std::sync::Arc;

use weir_core::Position;
use weir_core::name::Name;
use weir_search::catch_up::CatchUp;
use weir_search::progress::Progress;
use weir_store::{Truth, TruthError};

use self::documents::DocumentService;
use self::history::History;
use self::invalidation::Ended;
use self::invalidation::hooks::ChangeHook;
use self::invalidation::what::What;
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
    /// What has ended answers.
    pub ended: Arc<Ended>,
    /// The only way to write documents.
    pub documents: Arc<DocumentService>,
}

impl Tenant {
    /// Creates a tenant with these stores. `ended` observes `catch_up`: see [`invalidation`].
    #[must_use]
    pub fn new(
        name: Name,
        truth: Arc<dyn Truth>,
        catch_up: &CatchUp,
        ended: Arc<Ended>,
        documents: Arc<DocumentService>,
    ) -> Self {
        let progress = Arc::clone(catch_up.progress());
        let history = History::new(Arc::clone(&truth));
        Self { name, truth, history, progress, ended, documents }
    }

    /// The state that a run reads, for an answer that states `at_least` or later.
    #[must_use]
    pub fn reading(&self, at_least: Position) -> Reading {
        Reading::new(Arc::clone(&self.progress), at_least)
    }

    /// Has nothing served any more that `what` covers and was made before now, except for as long as
    /// policies allow if it `is_soft`. Returns the position of that, once it holds for all later
    /// requests.
    ///
    /// # Errors
    /// The truth failed. Then it may or may not be invalidated.
    pub async fn invalidate(&self, what: &What, is_soft: bool) -> Result<Position, TruthError> {
        let text = serde_json::to_string(what).map_err(|error| TruthError::Failed(error.into()))?;
        let at = self.truth.invalidate(&text, is_soft).await?;
        self.progress.wait_for(|view| view.heard() >= at).await;
        Ok(at.position)
    }

    /// Has these policies asked about every change from now on, besides those that are. What was made for
    /// the pipelines of new ones before ends, because nobody has asked them about the changes since.
    ///
    /// # Errors
    /// The truth failed. Then nobody else is asked.
    pub async fn also_ask_about_changes(&self, hooks: Vec<ChangeHook>) -> Result<(), TruthError> {
        let asked = self.ended.asked();
        let begun: Vec<_> = hooks.iter().filter_map(|hook| hook.begun_after(&asked)).collect();
        if begun.is_empty() {
            return Ok(());
        }
        self.ended.ask(asked.iter().chain(&begun).cloned().collect());
        // Afterwards: what is being applied meanwhile, and about which nobody was asked, was committed
        // before.
        let head = self.truth.head().await.inspect_err(|_| self.ended.ask(asked))?;
        self.ended.end_before(head.position, &begun);
        Ok(())
    }

    /// Has nobody but these policies asked about changes from now on.
    pub fn only_ask_about_changes(&self, hooks: Vec<ChangeHook>) {
        self.ended.ask(hooks.into());
    }

    /// The earliest position that an answer to a request may state that demands `at_least`.
    #[must_use]
    pub fn at_least(&self, at_least: Position) -> Position {
        self.progress.read(|view| view.required().max(at_least))
    }
}
