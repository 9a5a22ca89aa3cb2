//! Puts pipelines in service for the tenants that host them, in place of what is in service.
//!
//! A pipeline keeps what belongs to its name: its guests, so that a swap gives it neither a larger share nor a
//! second one, its log and its counts. A request that has taken a deployment keeps it until it is answered, and the
//! code is freed after the last one. Out of scope: which component a name has.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use weir_core::name::Name;
use weir_core::pattern::Scope;
use weir_embedding::models::Models;
use weir_store::TruthError;

use super::changes::Hooks;
use super::deployment::{Place, Wanted};
use super::{Deployment, Deployments, Snapshot};
use crate::engine::guests::{Guests, PipelineGuests, TenantGuests};
use crate::engine::size::Size;
use crate::logs::Logs;
use crate::pipeline::Pipeline;
use crate::shadow::Shadows;
use crate::tenant::Tenant;

/// A tenant, and which pipelines it hosts.
pub struct Host {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Those that it hosts; `None` for all.
    pub pipelines: Option<Scope>,
    /// Its weight where tenants share something.
    pub weight: u32,
}

/// The tenants, and what is in service for them.
pub struct Hosting {
    hosts: Vec<(Host, TenantGuests)>,
    guests: Guests,
    models: Arc<Models>,
    io: Handle,
    in_service: Arc<Deployments>,
    shadows: Arc<Shadows>,
    logs: Logs,
    /// The guests of each name, which stay when it is deployed again: by tenant, pipeline and size.
    of_names: Mutex<BTreeMap<(Name, Name, Size), Arc<PipelineGuests>>>,
    /// One swap at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Hosting {
    /// Hosts nothing yet. Host calls run on the runtime `io`.
    #[must_use]
    pub fn new(
        hosts: impl IntoIterator<Item = Host>,
        guests: Guests,
        models: Arc<Models>,
        io: Handle,
    ) -> Self {
        let with_guests = |host: Host| {
            let of_tenant = guests.of_tenant(host.weight);
            (host, of_tenant)
        };
        Self {
            hosts: hosts.into_iter().map(with_guests).collect(),
            guests,
            models,
            io,
            in_service: Arc::default(),
            shadows: Arc::default(),
            logs: Logs::default(),
            of_names: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What is in service.
    #[must_use]
    pub fn in_service(&self) -> &Arc<Deployments> {
        &self.in_service
    }

    /// The candidates for policies that are told how requests end.
    #[must_use]
    pub fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    /// What the pipelines in service have logged.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Puts these pipelines in service, and nothing else. Requests that arrive afterwards see all of it;
    /// what has not changed is not interrupted.
    ///
    /// # Errors
    /// A truth failed. Then the same is in service as before.
    pub async fn publish(&self, wanted: &[Wanted]) -> Result<(), TruthError> {
        let _turn = self.turn.lock().await;
        let before = self.in_service.current();
        let mut deployments = Vec::new();
        for (host, of_tenant) in &self.hosts {
            for wanted in wanted {
                let name = &wanted.base.pipeline.name;
                if host.pipelines.as_ref().is_some_and(|hosted| !hosted.covers(name)) {
                    continue;
                }
                deployments.push(match before.get(&host.tenant.name, name) {
                    Some(known) if known.serves(wanted) => Arc::clone(known),
                    known => Arc::new(self.deployment(host, of_tenant, wanted, known)),
                });
            }
        }
        // Before: what the new ones store must end with the changes that come from now on.
        let candidates = deployments.iter().filter_map(|deployment| deployment.candidate());
        let answering: Vec<_> = deployments.iter().chain(candidates).cloned().collect();
        let hooks = Hooks::of(&answering);
        hooks.also_ask().await?;
        let snapshot = Snapshot::new(deployments);
        self.logs.keep_only(&snapshot.pipelines().into_keys().collect());
        self.in_service.publish(snapshot);
        hooks.only_ask();
        Ok(())
    }

    fn deployment(
        &self,
        host: &Host,
        of_tenant: &TenantGuests,
        wanted: &Wanted,
        known: Option<&Arc<Deployment>>,
    ) -> Deployment {
        // Also what the candidate runs on, so that two versions have no larger share than one.
        let Pipeline { name, weight, size, .. } = &*wanted.base.pipeline;
        let key = (host.tenant.name.clone(), name.clone(), *size);
        let mut of_names = self.of_names.lock();
        let guests = of_names
            .entry(key)
            .or_insert_with(|| Arc::new(self.guests.of_pipeline(of_tenant, *weight, *size)));
        let place = Place {
            tenant: Arc::clone(&host.tenant),
            guests: Arc::clone(guests),
            tally: known.map(|known| Arc::clone(&known.tally)).unwrap_or_default(),
            log: self.logs.begin(name),
            models: Arc::clone(&self.models),
            io: self.io.clone(),
            shadows: Arc::clone(&self.shadows),
        };
        Deployment::new(wanted.clone(), &place)
    }
}
