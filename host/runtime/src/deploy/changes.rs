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

/// Has the policies of these deployments asked about every change from now on, and nobody else.
///
/// # Errors
/// A truth failed.
pub async fn ask_about_changes(deployments: &[Deployment]) -> Result<(), TruthError> {
    let mut tenants = BTreeMap::<&Name, (&Arc<Tenant>, BTreeMap<&Name, ChangeHook>)>::new();
    for deployment in deployments {
        let tenant = deployment.tenant();
        let (_, hooks) = tenants.entry(&tenant.name).or_insert_with(|| (tenant, BTreeMap::new()));
        let Some(policy) = deployment.policy.as_ref().filter(|policy| policy.has_changes()) else {
            continue;
        };
        let guests = || Arc::clone(&deployment.runner.guests);
        let asked = || Asked { policy: Arc::clone(policy), guests: guests() };
        let hook = hooks.entry(&policy.name).or_insert_with(|| ChangeHook {
            policy: policy.name.clone(),
            ending: Arc::new(asked()),
            pipelines: Vec::new(),
        });
        hook.pipelines.push(deployment.name().clone());
    }
    for (tenant, hooks) in tenants.into_values() {
        tenant.ask_about_changes(hooks.into_values().collect()).await?;
    }
    Ok(())
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
