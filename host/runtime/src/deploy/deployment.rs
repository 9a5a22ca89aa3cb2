//! A deployment: the component and the policy that answer one tenant's requests under a name.

use std::sync::Arc;

use tokio::runtime::Handle;
use weir_cache::key::KeyPrefix;
use weir_core::name::Name;
use weir_embedding::models::Models;

use super::tally::Tally;
use crate::engine::guests::PipelineGuests;
use crate::pipeline::{Pipeline, Runner};
use crate::policy::Policy;
use crate::tenant::Tenant;

/// A pipeline in service for one tenant.
pub struct Deployment {
    /// The path that it is called at, in its canonical form.
    pub path: String,
    /// Its cache policy. Without one, its answers are never cached.
    pub policy: Option<Arc<Policy>>,
    /// The prefix of its keys: everything that determines an answer, apart from the request and
    /// what is read. A lookup never finds an entry of another prefix.
    pub key_prefix: KeyPrefix,
    /// Runs the pipeline.
    pub runner: Runner,
    /// Counts how its requests are answered.
    pub tally: Tally,
}

impl Deployment {
    /// Puts a pipeline in service for `tenant`.
    #[must_use]
    pub fn new(
        pipeline: Arc<Pipeline>,
        policy: Option<Arc<Policy>>,
        tenant: Arc<Tenant>,
        guests: PipelineGuests,
        models: Arc<Models>,
        io: Handle,
    ) -> Self {
        let fingerprint = models.fingerprint();
        Self {
            path: format!("/v1/pipelines/{}", pipeline.name),
            key_prefix: key_prefix(&tenant, &pipeline, policy.as_deref(), &fingerprint),
            policy,
            runner: Runner::new(pipeline, tenant, guests, models, io),
            tally: Tally::default(),
        }
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
    let (policy, settings, epoch) = policy.map_or_else(Default::default, |policy| {
        let epoch = policy.plan.key_epoch.to_string();
        (policy.digest.as_str(), policy.settings_digest.as_str(), epoch)
    });
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
        policy,
        settings,
        &epoch,
    ])
}
