//! All deployments of the server, as a snapshot that is replaced atomically.
//!
//! A request takes its [`Deployment`] once and keeps it until it is answered, so a new snapshot
//! does not affect it. [`registry`] says what each name has, [`hosting`] puts it in service, and [`tally`]
//! counts how the requests to a deployment were answered. `changes` is for policies that want to know what changes.
//! A deployment may have a candidate beside it: [`split`] is which requests that answers. When it is rolled back by
//! itself, its runs say (`pipeline::canary`). Out of scope: who may deploy (`weir-server`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use weir_core::name::Name;

use crate::pipeline::Pipeline;

mod changes;
mod deployment;
pub mod hosting;
pub mod registry;
pub mod split;
pub mod tally;

pub use deployment::{Deployment, Wanted, WantedCandidate, WantedVersion};

/// All deployments of a server at one time.
#[derive(Default)]
pub struct Snapshot {
    by_tenant: BTreeMap<Name, BTreeMap<Name, Arc<Deployment>>>,
}

/// The deployments in service.
#[derive(Default)]
pub struct Deployments {
    current: RwLock<Arc<Snapshot>>,
}

impl Snapshot {
    /// Creates a snapshot of `deployments`.
    #[must_use]
    pub fn new(deployments: impl IntoIterator<Item = Arc<Deployment>>) -> Self {
        let mut by_tenant: BTreeMap<Name, BTreeMap<_, _>> = BTreeMap::new();
        for deployment in deployments {
            let of_tenant = by_tenant.entry(deployment.tenant().name.clone()).or_default();
            of_tenant.insert(deployment.name().clone(), deployment);
        }
        Self { by_tenant }
    }

    /// The deployment that serves `pipeline` to `tenant`.
    #[must_use]
    pub fn get(&self, tenant: &Name, pipeline: &Name) -> Option<&Arc<Deployment>> {
        self.by_tenant.get(tenant)?.get(pipeline)
    }

    /// The names of the pipelines that are deployed for `tenant`.
    #[must_use]
    pub fn names(&self, tenant: &Name) -> Vec<&str> {
        let deployments = self.by_tenant.get(tenant);
        deployments.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The deployments of `tenant`, by the names of their pipelines.
    pub fn of_tenant(&self, tenant: &Name) -> impl Iterator<Item = &Arc<Deployment>> {
        self.by_tenant.get(tenant).into_iter().flat_map(BTreeMap::values)
    }

    /// All deployments, without the candidates beside them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.by_tenant.values().flat_map(BTreeMap::values)
    }

    /// The pipelines by name. Tenants share them.
    #[must_use]
    pub fn pipelines(&self) -> BTreeMap<&Name, &Arc<Pipeline>> {
        let all = self.by_tenant.values().flatten();
        all.map(|(name, deployment)| (name, deployment.pipeline())).collect()
    }
}

impl Deployments {
    /// Puts `snapshot` in service: every request that arrives from now on sees all of it.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.current.write() = Arc::new(snapshot);
    }

    /// The snapshot in service now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read())
    }

    /// The deployment that serves `pipeline` to `tenant` now.
    #[must_use]
    pub fn get(&self, tenant: &Name, pipeline: &Name) -> Option<Arc<Deployment>> {
        self.current.read().get(tenant, pipeline).map(Arc::clone)
    }
}
