//! A deployment: the component and the policy that answer one tenant's requests under a name.

use std::sync::Arc;

use http::HeaderValue;
use tokio::runtime::Handle;
use weir_cache::key::KeyPrefix;
use weir_core::name::Name;
use weir_embedding::models::Models;

use super::split::Split;
use super::tally::Tally;
use crate::engine::guests::PipelineGuests;
use crate::logs::PipelineLog;
use crate::pipeline::canary::{Canary, Side, Watched};
use crate::pipeline::{Pipeline, Runner};
use crate::policy::Policy;
use crate::policy::plan::Longest;
use crate::request::Source;
use crate::shadow::{Shadowing, Shadows};
use crate::tenant::Tenant;

/// What one name is to serve.
#[derive(Clone)]
pub struct Wanted {
    /// What answers its requests, or those that the candidate does not.
    pub base: WantedVersion,
    /// What answers a part of them, if anything does.
    pub candidate: Option<WantedCandidate>,
}

/// A candidate: a version that answers a part of the requests.
#[derive(Clone)]
pub struct WantedCandidate {
    /// What it is.
    pub version: WantedVersion,
    /// Which requests it answers.
    pub split: Split,
    /// How its runs compare.
    pub canary: Arc<Canary>,
}

/// One of the versions that a name is to serve.
#[derive(Clone)]
pub struct WantedVersion {
    /// The pipeline, which has the name.
    pub pipeline: Arc<Pipeline>,
    /// Its cache policy. Without one, its answers are never cached.
    pub policy: Option<Arc<Policy>>,
    /// The revision that deployed this.
    pub revision: u64,
}

/// Where a pipeline is put in service.
pub(super) struct Place {
    pub(super) tenant: Arc<Tenant>,
    pub(super) guests: Arc<PipelineGuests>,
    pub(super) tally: Arc<Tally>,
    pub(super) log: Arc<PipelineLog>,
    pub(super) models: Arc<Models>,
    pub(super) io: Handle,
    pub(super) shadows: Arc<Shadows>,
}

/// A pipeline in service for one tenant.
pub struct Deployment {
    /// The path that it is called at, in its canonical form.
    pub path: String,
    /// Its cache policy. Without one, its answers are never cached.
    pub policy: Option<Arc<Policy>>,
    /// The longest that its answers live, also those that an earlier deployment has stored under the same
    /// keys.
    pub longest: Longest,
    /// The prefix of its keys: everything that determines an answer, apart from the request and
    /// what is read. A lookup never finds an entry of another prefix.
    pub key_prefix: KeyPrefix,
    /// Runs the pipeline.
    pub runner: Runner,
    /// Whether a candidate for its policy is told how requests end.
    pub shadowing: Arc<Shadowing>,
    /// Counts how its requests are answered, since its name was first deployed.
    pub tally: Arc<Tally>,
    /// The revision that deployed it.
    pub revision: u64,
    /// The same, as clients are told it.
    pub revision_text: HeaderValue,
    candidate: Option<Candidate>,
}

/// What answers a part of a deployment's requests instead.
struct Candidate {
    deployment: Arc<Deployment>,
    split: Split,
    canary: Arc<Canary>,
}

impl Deployment {
    /// Puts a pipeline in service, and its candidate.
    #[must_use]
    pub(super) fn new(Wanted { base, candidate }: Wanted, place: &Place) -> Self {
        let watched = |side| {
            let canary = candidate.as_ref().map(|candidate| Arc::clone(&candidate.canary));
            canary.map(|canary| Watched { canary, side })
        };
        let (of_base, of_candidate) = (watched(Side::Base), watched(Side::Candidate));
        let candidate = candidate.map(|WantedCandidate { version, split, canary }| Candidate {
            deployment: Arc::new(Self::of_version(version, place, of_candidate)),
            split,
            canary,
        });
        Self { candidate, ..Self::of_version(base, place, of_base) }
    }

    fn of_version(version: WantedVersion, place: &Place, watched: Option<Watched>) -> Self {
        let WantedVersion { pipeline, policy, revision } = version;
        let Place { tenant, guests, tally, log, models, io, shadows } = place;
        let fingerprint = models.fingerprint();
        Self {
            revision,
            revision_text: HeaderValue::from(revision),
            path: format!("/v1/pipelines/{}", pipeline.name),
            longest: policy.as_deref().map_or(Longest::UNLIMITED, Policy::longest),
            key_prefix: key_prefix(tenant, &pipeline, policy.as_deref(), &fingerprint),
            shadowing: policy.as_ref().map(|of| shadows.of(&of.name)).unwrap_or_default(),
            policy,
            runner: Runner::new(
                pipeline,
                Arc::clone(tenant),
                Arc::clone(guests),
                Arc::clone(models),
                io.clone(),
                watched,
                log.writer(tenant.name.clone(), revision),
            ),
            tally: Arc::clone(tally),
            candidate: None,
        }
    }

    /// What answers this request instead, if anything does.
    #[must_use]
    pub fn candidate_for(&self, source: &Source<'_>) -> Option<&Arc<Self>> {
        let candidate = self.candidate.as_ref()?;
        let (tenant, policy) = (&self.tenant().name, self.policy.as_deref());
        candidate.split.has(tenant, policy, source).then_some(&candidate.deployment)
    }

    /// What answers some of its requests instead, if anything does.
    #[must_use]
    pub fn candidate(&self) -> Option<&Arc<Self>> {
        self.candidate.as_ref().map(|candidate| &candidate.deployment)
    }

    /// Whether it already is what is wanted.
    pub(super) fn serves(&self, Wanted { base, candidate }: &Wanted) -> bool {
        let same_candidate = match (&self.candidate, candidate) {
            (Some(known), Some(wanted)) => {
                Arc::ptr_eq(&known.canary, &wanted.canary)
                    && known.split == wanted.split
                    && known.deployment.is(&wanted.version)
            }
            (known, wanted) => known.is_none() && wanted.is_none(),
        };
        same_candidate && self.is(base)
    }

    fn is(&self, WantedVersion { pipeline, policy, revision }: &WantedVersion) -> bool {
        let same_policy = match (&self.policy, policy) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        Arc::ptr_eq(self.pipeline(), pipeline) && same_policy && self.revision == *revision
    }

    /// The pipeline's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.runner.pipeline.name
    }

    /// The component.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.runner.pipeline
    }

    /// The tenant whose requests it answers.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.runner.tenant
    }
}

fn key_prefix(
    tenant: &Tenant,
    pipeline: &Pipeline,
    policy: Option<&Policy>,
    models: &str,
) -> KeyPrefix {
    let policy = policy.map(Policy::fingerprint).unwrap_or_default();
    let truth = tenant.truth.id().to_string();
    KeyPrefix::new(&[
        // Another release may compute the same answer in another way.
        env!("CARGO_PKG_VERSION"),
        &truth,
        tenant.name.as_str(),
        pipeline.name.as_str(),
        &pipeline.digest,
        &pipeline.settings_digest,
        &pipeline.grants.fingerprint(),
        pipeline.allowed_fingerprint(),
        weir_search::keyword::ANALYSIS,
        models,
        &policy,
    ])
}
