//! What is deployed under each name, and how that changes while requests are served.
//!
//! A change is loaded first, then recorded in the system store, which decides between two at once, and then put
//! in service. So what is recorded works, and after a crash at any point the server starts with the old or with
//! the new. [`spec`] is what a name is deployed with, and [`deployed`] is that of all names, loaded. [`loader`] loads
//! plugins, [`upload`] stores them, after a [`check`], [`candidate`] tries them, [`shadow`] tries policies without
//! effect, [`unused`] removes them, [`start`] is what a server begins with, [`apply`] goes back to the configuration,
//! and [`error`] is why something is refused. Out of scope: who may do it (`weir-server`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::system::{Expected, HistoryEntry, KEPT_HISTORY, Role};
use weir_store::{SystemStore, TruthError};

use self::deployed::{Deployed, Loaded};
use self::loader::blocking;
use super::Deployments;
use super::hosting::Hosting;
use crate::logs::Logs;
use crate::trial::Trials;

mod apply;
mod candidate;
mod check;
mod deployed;
mod error;
mod loader;
mod need;
mod shadow;
mod spec;
mod start;
mod unused;
mod upload;

pub use self::apply::Applied;
pub use self::error::RegistryError;
pub use self::loader::{Configured, Loader};
pub use self::need::{Need, Reason};
pub use self::shadow::Tried as InShadow;
pub use self::spec::{Candidate, Source, Spec};
pub use self::start::{Beginning, StartError};
pub use self::unused::Needs;
pub use self::upload::Stored;

/// How much of the history of a name is shown.
const SHOWN_HISTORY: u32 = 20;

/// Everything that is deployed.
pub struct Registry {
    loader: Arc<Loader>,
    system: Arc<dyn SystemStore>,
    hosting: Hosting,
    trials: Arc<Trials>,
    deployed: Mutex<Deployed>,
    /// What the configuration deploys, as it was at the start.
    named: BTreeMap<(Role, Name), Spec>,
    /// Changes that have begun to be recorded. A drain waits for them.
    detached: TaskTracker,
}

/// What a name is deployed with, for administrators.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it is.
    pub role: Role,
    /// The name.
    pub name: Name,
    /// What it is deployed with.
    pub spec: Spec,
    /// The revision that deployed it.
    pub revision: u64,
    /// Whether the configuration says something else.
    pub drifted: bool,
}

impl Registry {
    /// What is in service now.
    #[must_use]
    pub fn in_service(&self) -> &Arc<Deployments> {
        self.hosting.in_service()
    }

    /// What the pipelines in service have logged.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        self.hosting.logs()
    }

    /// What is deployed in this role, by name.
    pub async fn list(&self, role: Role) -> Vec<Shown> {
        let deployed = self.deployed.lock().await;
        let shown = |(name, spec, revision): (&Name, &Spec, u64)| Shown {
            role,
            name: name.clone(),
            spec: spec.clone(),
            revision,
            drifted: self.has_drifted(role, name, spec),
        };
        deployed.of(role).into_iter().map(shown).collect()
    }

    /// What was deployed under a name, the newest first.
    ///
    /// # Errors
    /// The system store failed.
    pub async fn history(&self, role: Role, name: &Name) -> Result<Vec<HistoryEntry>, TruthError> {
        self.system.history(role, name, SHOWN_HISTORY).await
    }

    /// Loads a plugin and puts it in service under a name, in place of what is. Requests that have begun
    /// end with what they began with. Returns the revision, once all later requests see it.
    ///
    /// # Errors
    /// The plugin is not stored or not allowed what it needs, what is deployed is not what the caller
    /// expects, or a store failed. Then nothing has changed, unless the error says so.
    pub async fn deploy(
        self: &Arc<Self>,
        role: Role,
        name: Name,
        spec: Spec,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        let loaded = self.loader.stored(role, &name, &spec).await?;
        let (registry, by) = (Arc::clone(self), by.to_owned());
        self.to_its_end(async move {
            let mut deployed = registry.deployed.lock().await;
            registry.expect_stored(spec.digest).await?;
            deployed.expect_policy(spec.policy.as_ref())?;
            if loaded.role() == Role::Policy {
                deployed.expect_no_trial(&name)?;
            }
            registry.record(&mut deployed, name, loaded, spec, expected, &by).await
        })
        .await
    }

    /// Ends the trial of a candidate, or if there is none, deploys again what was deployed under a name before.
    ///
    /// # Errors
    /// There was nothing else, or as for [`deploy`](Self::deploy).
    pub async fn roll_back(
        self: &Arc<Self>,
        role: Role,
        name: Name,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        if role == Role::Pipeline {
            let (registry, name, by) = (Arc::clone(self), name.clone(), by.to_owned());
            let end = async move {
                let deployed = registry.deployed.lock().await;
                registry.end_candidate(deployed, &name, expected, &by).await
            };
            if let Some(revision) = self.to_its_end(end).await? {
                return Ok(revision);
            }
        }
        let before = self.before(role, &name).await?;
        let spec = Spec { source: Source::Admin, allowed: None, candidate: None, ..before };
        self.deploy(role, name, spec, expected, by).await
    }

    /// Removes what is deployed under a name. Its history stays. Returns the revision.
    ///
    /// # Errors
    /// The configuration names it, pipelines need it, it is not what the caller expects, or a store failed.
    pub async fn undeploy(
        self: &Arc<Self>,
        role: Role,
        name: Name,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        let configured = &self.loader.configured;
        let is_configured = match role {
            Role::Pipeline => configured.pipelines.contains_key(&name),
            Role::Policy => configured.policies.contains_key(&name),
        };
        if is_configured {
            return Err(RegistryError::Configured { role, name });
        }
        let (registry, by) = (Arc::clone(self), by.to_owned());
        self.to_its_end(async move {
            let mut deployed = registry.deployed.lock().await;
            let under = deployed.under(&name).next().map(|(pipeline, _)| pipeline.clone());
            if let Some(pipeline) = under.filter(|_| role == Role::Policy) {
                return Err(RegistryError::PolicyInUse { policy: name, pipeline });
            }
            let gone = registry.system.undeploy(role, &name, expected, &by).await?;
            let revision =
                gone.ok_or_else(|| RegistryError::NotDeployed { role, name: name.clone() })?;
            deployed.remove(role, &name);
            registry.publish(&deployed, revision).await
        })
        .await
    }

    /// What answered requests under a name before what does now, or at last if nothing does.
    async fn before(&self, role: Role, name: &Name) -> Result<Spec, RegistryError> {
        let history = self.system.history(role, name, KEPT_HISTORY).await?;
        let mut specs = history.iter().map(|entry| entry.spec.as_deref().map(Spec::parse));
        let nothing = || RegistryError::NothingBefore { role, name: name.clone() };
        let now = specs.next().ok_or_else(nothing)?.transpose()?;
        for before in specs.flatten() {
            let before = before?;
            if now.as_ref().is_none_or(|now| !now.answers_like(&before)) {
                return Ok(before);
            }
        }
        Err(nothing())
    }

    /// Refuses a plugin that was removed while it was loaded.
    async fn expect_stored(&self, digest: PluginDigest) -> Result<(), RegistryError> {
        let loader = Arc::clone(&self.loader);
        match blocking(move || loader.files.has(digest)).await?? {
            true => Ok(()),
            false => Err(RegistryError::UnknownPlugin(digest)),
        }
    }

    /// Records what a name is deployed with, and puts it in service.
    async fn record(
        &self,
        deployed: &mut Deployed,
        name: Name,
        loaded: Loaded,
        spec: Spec,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        let role = loaded.role();
        let revision = self.system.deploy(role, &name, &spec.text(), expected, by).await?;
        deployed.insert(name, loaded, spec, revision);
        self.publish(deployed, revision).await
    }

    async fn publish(&self, deployed: &Deployed, revision: u64) -> Result<u64, RegistryError> {
        let published = self.hosting.publish(&deployed.wanted()).await;
        let policy = |name: &Name| deployed.policies.get(name).map(|of| Arc::clone(&of.loaded));
        self.hosting.shadows().only_beside(policy);
        published.map_err(|error| RegistryError::NotInService { revision, error })?;
        Ok(revision)
    }

    /// Does what is recorded to its end, also if nobody waits for it any more.
    async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, RegistryError> {
        match self.detached.spawn(change).await {
            Ok(changed) => changed,
            Err(error) => Err(RegistryError::Failed(error.to_string())),
        }
    }
}
