//! A deployment: the component and the policy that answer one tenant's requests under a name.

use std::sync::Arc;

use http::HeaderValue;
use tokio::runtime::Handle;
use weir_cache::key::KeyPrefix;
use weir_core::name::Name;
use weir_embedding::models::Models;

use super::tally::Tally;
use crate::engine::guests::PipelineGuests;
use crate::pipeline::{Pipeline, Runner};
use crate::policy::Policy;
use crate::policy::plan::Longest;
use crate::tenant::Tenant;

/// What one name is to serve.
#[derive(Clone)]
pub struct Wanted {
    /// The pipeline, which has the name.
    pub pipeline: Arc<Pipeline>,
    /// Its cache policy. Without one, its answers are never cached.
    pub policy: Option<Arc<Policy>>,
    /// The revision that deployed this.
    pub revision: u64,
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
    /// Counts how its requests are answered, since its name was first deployed.
    pub tally: Arc<Tally>,
    /// The revision that deployed it.
    pub revision: u64,
    /// The same, as clients are told it.
    pub revision_text: HeaderValue,
}

impl Deployment {
    /// Puts a pipeline in service for `tenant`.
    #[must_use]
    pub fn new(
        Wanted { pipeline, policy, revision }: Wanted,
        tenant: Arc<Tenant>,
        guests: Arc<PipelineGuests>,
        tally: Arc<Tally>,
        models: Arc<Models>,
        io: Handle,
    ) -> Self {
        let fingerprint = models.fingerprint();
        Self {
            revision,
            revision_text: HeaderValue::from(revision),
            path: format!("/v1/pipelines/{}", pipeline.name),
            longest: policy.as_deref().map_or(Longest::UNLIMITED, Policy::longest),
            key_prefix: key_prefix(&tenant, &pipeline, policy.as_deref(), &fingerprint),
            policy,
            runner: Runner::new(pipeline, tenant, guests, models, io),
            tally,
        }
    }

    /// Whether it already is what is wanted.
    pub(super) fn serves(&self, wanted: &Wanted) -> bool {
        let Wanted { pipeline, policy, revision } = wanted;
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
