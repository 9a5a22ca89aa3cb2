//! Has the policies that want it asked about changes, for all tenants. Out of scope: what follows
//! (`tenant::invalidation`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use weir_cache::tag::Tag;
use weir_core::name::Name;
use weir_store::{Change, TruthError};

use super::Deployment;
use crate::engine::guests::PipelineGuests;
use crate::policy::Policy;
use crate::tenant::Tenant;
use crate::tenant::invalidation::hooks::{ChangeHook, Ending};

/// The policies that want to be asked about the changes of each tenant.
pub(super) struct Hooks<'a>(BTreeMap<&'a Name, (&'a Arc<Tenant>, BTreeMap<&'a Name, ChangeHook>)>);

impl<'a> Hooks<'a> {
    /// Those of these deployments.
    pub(super) fn of(deployments: &'a [Arc<Deployment>]) -> Self {
        let mut tenants = BTreeMap::new();
        for deployment in deployments {
            let tenant = deployment.tenant();
            let (_, hooks) =
                tenants.entry(&tenant.name).or_insert_with(|| (tenant, BTreeMap::new()));
            let Some(policy) = deployment.policy.as_ref().filter(|policy| policy.has_changes())
            else {
                continue;
            };
            let guests = || Arc::clone(&deployment.runner.guests);
            let asked = || Asked { policy: Arc::clone(policy), guests: guests() };
            let hook = hooks.entry(&policy.name).or_insert_with(|| ChangeHook {
                policy: policy.name.clone(),
                version: format!("{} {}", policy.digest, policy.settings_digest),
                ending: Arc::new(asked()),
                pipelines: Vec::new(),
            });
            hook.pipelines.push(deployment.name().clone());
        }
        Self(tenants)
    }

    /// Has them asked about every change from now on, besides those that are.
    ///
    /// # Errors
    /// A truth failed.
    pub(super) async fn also_ask(&self) -> Result<(), TruthError> {
        for (tenant, hooks) in self.0.values() {
            tenant.also_ask_about_changes(hooks.values().cloned().collect()).await?;
        }
        Ok(())
    }

    /// Has nobody else asked from now on.
    pub(super) fn only_ask(self) {
        for (tenant, hooks) in self.0.into_values() {
            tenant.only_ask_about_changes(hooks.into_values().collect());
        }
    }
}

/// A policy that is asked as a guest of one of its pipelines.
struct Asked {
    policy: Arc<Policy>,
    guests: Arc<PipelineGuests>,
}

#[async_trait]
impl Ending for Asked {
    async fn ended_by(&self, collection: &Name, lines: &[Change]) -> Result<Vec<Tag>, String> {
        match self.policy.ended_by(&self.guests, collection, lines).await {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(no_slot) => Err(no_slot.to_string()),
        }
    }
}
