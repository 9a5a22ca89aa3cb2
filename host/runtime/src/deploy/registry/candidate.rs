//! Tries a version on a part of the requests to a pipeline, and ends that if it is worse.
//!
//! What answers the other requests stays as it is, with its revision, so that each answer says which of the two
//! has made it. Out of scope: what is worse (`pipeline::canary`).

use std::sync::Arc;

use metrics::counter;
use tokio::sync::MutexGuard;
use tracing::{error, warn};
use weir_core::name::Name;
use weir_store::system::{AuditRecord, Expected, Role};

use super::Registry;
use super::deployed::{Deployed, Entry, Loaded, Tried, Versions};
use super::error::RegistryError;
use super::spec::{Candidate, Spec};
use super::upload::unix_ms;
use crate::pipeline::Pipeline;
use crate::pipeline::canary::{Canary, Seen, Verdict};

/// Who rolls back by itself, in the history.
const WEIR: &str = "weir";

impl Registry {
    /// Has a version answer a part of the requests to a pipeline that is deployed. Its `base_revision` is set
    /// here. The same version again keeps its runs, with another weight. Returns the revision.
    ///
    /// # Errors
    /// Nothing is deployed under the name, or as for [`deploy`](Self::deploy).
    pub async fn try_out(
        self: &Arc<Self>,
        name: Name,
        candidate: Candidate,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        if !(1..=99).contains(&candidate.weight_percent) {
            return Err(RegistryError::Weight(candidate.weight_percent));
        }
        let loaded = self.loader.stored(Role::Pipeline, &name, &candidate.spec()).await?;
        let Loaded::Pipeline(versions) = loaded else {
            return Err(RegistryError::Failed("a pipeline was loaded as a policy".to_owned()));
        };
        let (registry, by) = (Arc::clone(self), by.to_owned());
        self.to_its_end(async move {
            let mut deployed = registry.deployed.lock().await;
            let pipeline = Arc::clone(&versions.base);
            registry.beside(&mut deployed, name, pipeline, candidate, expected, &by).await
        })
        .await
    }

    async fn beside(
        self: &Arc<Self>,
        deployed: &mut Deployed,
        name: Name,
        pipeline: Arc<Pipeline>,
        candidate: Candidate,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        self.expect_stored(candidate.digest).await?;
        deployed.expect_policy(candidate.policy.as_ref())?;
        let nothing = || RegistryError::NotDeployed { role: Role::Pipeline, name: name.clone() };
        let Entry { loaded, spec, revision } = deployed.pipelines.get(&name).ok_or_else(nothing)?;
        let known = spec.candidate.as_ref();
        let same = known.filter(|known| known.spec().answers_like(&candidate.spec()));
        let tried = same.and_then(|_| loaded.candidate.clone());
        let is_new = tried.is_none();
        let tried = tried.unwrap_or_else(|| Tried { pipeline, canary: Canary::begin() });
        let base_revision = known.map_or(*revision, |known| known.base_revision);
        let spec =
            Spec { candidate: Some(Candidate { base_revision, ..candidate }), ..spec.clone() };
        let canary = Arc::clone(&tried.canary);
        let versions = Versions { base: Arc::clone(&loaded.base), candidate: Some(tried) };
        let loaded = Loaded::Pipeline(Arc::new(versions));
        let revision = self.record(deployed, name.clone(), loaded, spec, expected, by).await?;
        if is_new {
            self.watch(name, &canary);
        }
        Ok(revision)
    }

    /// Ends the trial beside a pipeline, if there is one. Returns the revision.
    pub(super) async fn end_candidate(
        self: &Arc<Self>,
        mut deployed: MutexGuard<'_, Deployed>,
        name: &Name,
        expected: Expected,
        by: &str,
    ) -> Result<Option<u64>, RegistryError> {
        let Some(Entry { loaded, spec, .. }) = deployed.pipelines.get(name) else {
            return Ok(None);
        };
        if spec.candidate.is_none() {
            return Ok(None);
        }
        let spec = Spec { candidate: None, ..spec.clone() };
        let versions = Versions { base: Arc::clone(&loaded.base), candidate: None };
        let loaded = Loaded::Pipeline(Arc::new(versions));
        let ended = self.record(&mut deployed, name.clone(), loaded, spec, expected, by).await;
        ended.map(Some)
    }

    /// How the runs of the candidate beside a pipeline compare, if there is one.
    pub async fn seen(&self, name: &Name) -> Option<Seen> {
        let deployed = self.deployed.lock().await;
        let tried = deployed.pipelines.get(name)?.loaded.candidate.as_ref()?;
        Some(tried.canary.seen())
    }

    /// Rolls back the candidate of this pipeline when its comparison says so, until that has ended.
    pub(super) fn watch(self: &Arc<Self>, name: Name, canary: &Arc<Canary>) {
        let (registry, canary) = (Arc::downgrade(self), Arc::downgrade(canary));
        let Some(mut told) = canary.upgrade().map(|canary| canary.verdict()) else { return };
        tokio::spawn(async move {
            let Ok(Some(verdict)) = told.wait_for(Option::is_some).await.map(|told| told.clone())
            else {
                return;
            };
            let (Some(registry), Some(canary)) = (registry.upgrade(), canary.upgrade()) else {
                return;
            };
            let judged = Arc::clone(&registry);
            let end = async move { judged.judged(&name, &canary, &verdict).await };
            let _ = registry.detached.spawn(end).await;
        });
    }

    async fn judged(self: &Arc<Self>, name: &Name, canary: &Arc<Canary>, verdict: &Verdict) {
        let deployed = self.deployed.lock().await;
        let Some(Entry { loaded, spec, revision }) = deployed.pipelines.get(name) else { return };
        let is_this = loaded.candidate.as_ref().is_some_and(|it| Arc::ptr_eq(&it.canary, canary));
        let Some(candidate) = spec.candidate.as_ref().filter(|_| is_this) else { return };
        let (pipeline, digest, revision) = (name.as_str(), candidate.digest, *revision);
        let reason = verdict.found.as_str();
        if !candidate.roll_back {
            warn!(pipeline, revision, %digest, %verdict, "the candidate is worse, and is to stay");
            return;
        }
        let by = format!("{WEIR}: {verdict}");
        let ended = self.end_candidate(deployed, name, Expected::Revision(revision), &by).await;
        let outcome = match &ended {
            Ok(_) => {
                warn!(pipeline, revision, %digest, %verdict, "the candidate is rolled back");
                counter!("weir_candidates_rolled_back_total", "reason" => reason).increment(1);
                "ok".to_owned()
            }
            Err(error) => {
                error!(pipeline, revision, %digest, %error, "the candidate could not be rolled back");
                error.to_string()
            }
        };
        let record = AuditRecord {
            at_unix_ms: unix_ms(),
            who: WEIR.to_owned(),
            action: "rollback".to_owned(),
            token: None,
            target: format!("pipeline {name}"),
            tenant: None,
            detail: format!("{digest}: {verdict}"),
            outcome,
        };
        if let Err(error) = self.system.append_audit(record).await {
            error!(%error, "the audit log has no line about a rollback");
        }
    }
}
