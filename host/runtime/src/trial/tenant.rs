//! The tenant of a trial: empty, in memory, and gone afterwards.
//!
//! It is a tenant like any other, with a truth, an index and a catch-up, so what a pipeline gets from it is what it
//! gets from a new tenant. It has no cache and no shared tier. The collections that the pipeline is granted by their
//! whole names exist, and are empty: whoever deploys it has them, and without them a trial would seldom get further
//! than opening one. Those that it is granted by a prefix are unknown to it, because nobody can say which there will
//! be. What it writes is bounded, since it is in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir_core::name::Name;
use weir_embedding::Origin;
use weir_embedding::models::Models;
use weir_search::catch_up::{CatchUp, Index, Settings};
use weir_search::exact::ExactStore;
use weir_store::{Limits, Quota, memory_truth};

use super::TrialError;
use crate::capability::grants::Grants;
use crate::tenant::Tenant;
use crate::tenant::config::Ingest;
use crate::tenant::documents::DocumentService;
use crate::tenant::invalidation::Ended;

/// The tenant's name, in the log and as the origin of texts.
pub(super) const NAME: &str = "weir.trial";
/// What it may store.
const LIMITS: Limits = Limits {
    max_backlog_bytes: MAX_BYTES,
    quota: Quota {
        max_documents: Some(1_000),
        max_bytes: Some(MAX_BYTES),
        // As many as a grant may name.
        max_collections: Some(128),
    },
};
const MAX_BYTES: u64 = 16 << 20;
/// It has no cache, so nobody reads its tags.
const MAX_TAGS: usize = 64;
/// How long a write waits until it is searchable, which it never is without a model. Nothing depends on it.
const SEARCHABLE_TIMEOUT_MS: u64 = 500;
/// How long its collections may take to exist.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// An empty tenant, for a pipeline with these grants.
pub(super) async fn empty(models: &Models, grants: &Grants) -> Result<Arc<Tenant>, TrialError> {
    let name = Name::new(NAME).map_err(TrialError::failed)?;
    let truth = memory_truth(LIMITS).await.map_err(TrialError::failed)?;
    let embedder = Arc::clone(models.default_model());
    truth.change_model(embedder.model_digest()).await.map_err(TrialError::failed)?;
    let mut created = Vec::new();
    for collection in granted(grants) {
        let (_, commit) = truth.create_collection(collection).await.map_err(TrialError::failed)?;
        created.extend(commit.map(|commit| (collection, commit)));
    }
    let index = Index {
        store: Arc::new(ExactStore::in_memory(embedder.dimensions())),
        origin: Arc::new(Origin::catch_up(name.as_str())),
        embedder,
    };
    let last = truth.last_changes().await.map_err(TrialError::failed)?;
    let ended = Arc::new(Ended::at_start(MAX_TAGS, &last));
    let settings = Settings::default();
    let catch_up = CatchUp::start(truth.clone(), index, None, ended.clone(), settings).await;
    let catch_up = catch_up.map_err(TrialError::failed)?;
    let limits = Ingest { searchable_timeout_ms: SEARCHABLE_TIMEOUT_MS, ..Ingest::default() };
    let turns = Arc::new(Semaphore::new(limits.max_concurrent));
    let documents = DocumentService::new(truth.clone(), catch_up.clone(), limits, turns);
    let tenant = Tenant::new(name, truth, &catch_up, ended, Arc::new(documents));
    let exist = tenant.progress.wait_for(|view| {
        created.iter().all(|(collection, commit)| view.applied(collection) >= *commit)
    });
    let exist = timeout(MAX_WAIT, exist).await;
    exist.map_err(|_| TrialError::failed("the collections of a trial cannot be read"))?;
    Ok(Arc::new(tenant))
}

/// The collections that it is granted by their whole names.
fn granted(grants: &Grants) -> BTreeSet<&Name> {
    let scopes = grants.collections.iter().flat_map(|of| [&of.read, &of.write]);
    scopes.flat_map(|scope| scope.patterns()).filter_map(|pattern| pattern.only()).collect()
}
