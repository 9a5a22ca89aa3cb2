//! What is deployed under each name, and how that changes while requests are served.
//!
//! A change is loaded first, then recorded in the system store, which decides between two at once, and then put
//! in service. So what is recorded works, and after a crash at any point the server starts with the old or with
//! the new. [`spec`] is what a name is deployed with, [`loader`] loads plugins, [`upload`] stores them, [`start`] is what a server begins with, and [`error`]
//! is why something is refused. Out of scope: who may do it (`weir-server`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use weir_core::name::Name;
use weir_store::system::{Expected, HistoryEntry, Role};
use weir_store::{SystemStore, TruthError};

use super::Deployments;
use super::Wanted;
use super::hosting::Hosting;
use crate::pipeline::Pipeline;
use crate::policy::Policy;

mod error;
mod loader;
mod spec;
mod start;
mod upload;

pub use self::error::RegistryError;
pub use self::loader::{Configured, Loader};
pub use self::spec::{Source, Spec};
pub use self::start::{Beginning, StartError};
pub use self::upload::Stored;

/// How much of the history of a name is shown.
const SHOWN_HISTORY: u32 = 20;

/// Everything that is deployed.
pub struct Registry {
    loader: Arc<Loader>,
    system: Arc<dyn SystemStore>,
    hosting: Hosting,
    deployed: Mutex<Deployed>,
    /// Changes that have begun to be recorded. A drain waits for them.
    detached: TaskTracker,
}

/// What is in service, by name.
#[derive(Default)]
struct Deployed {
    policies: BTreeMap<Name, Entry<Policy>>,
    pipelines: BTreeMap<Name, Entry<Pipeline>>,
}

/// What one name has.
struct Entry<T> {
    loaded: Arc<T>,
    spec: Spec,
    revision: u64,
}

/// A component that is loaded, and not yet deployed.
enum Loaded {
    Pipeline(Arc<Pipeline>),
    Policy(Arc<Policy>),
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
}

impl Registry {
    /// What is in service now.
    #[must_use]
    pub fn in_service(&self) -> &Arc<Deployments> {
        self.hosting.in_service()
    }

    /// What is deployed in this role, by name.
    pub async fn list(&self, role: Role) -> Vec<Shown> {
        let deployed = self.deployed.lock().await;
        let shown = |name: &Name, spec: &Spec, revision: u64| Shown {
            role,
            name: name.clone(),
            spec: spec.clone(),
            revision,
        };
        match role {
            Role::Pipeline => deployed
                .pipelines
                .iter()
                .map(|(name, of)| shown(name, &of.spec, of.revision))
                .collect(),
            Role::Policy => deployed
                .policies
                .iter()
                .map(|(name, of)| shown(name, &of.spec, of.revision))
                .collect(),
        }
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
        // What is recorded is put in service, also if nobody waits for it any more.
        let change = async move { registry.change(name, loaded, spec, expected, &by).await };
        match self.detached.spawn(change).await {
            Ok(revision) => revision,
            Err(error) => Err(RegistryError::Failed(error.to_string())),
        }
    }

    /// Deploys again what was deployed under a name before.
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
        let before = self.system.previous(role, &name).await?;
        let before =
            before.ok_or_else(|| RegistryError::NothingBefore { role, name: name.clone() })?;
        let before = Spec::parse(&before.spec)?;
        let spec = Spec { source: Source::Admin, allowed: None, ..before };
        self.deploy(role, name, spec, expected, by).await
    }

    async fn change(
        &self,
        name: Name,
        loaded: Loaded,
        spec: Spec,
        expected: Expected,
        by: &str,
    ) -> Result<u64, RegistryError> {
        let mut deployed = self.deployed.lock().await;
        if let Some(policy) =
            spec.policy.as_ref().filter(|name| !deployed.policies.contains_key(*name))
        {
            return Err(RegistryError::UnknownPolicy(policy.clone()));
        }
        let role = loaded.role();
        let revision = self.system.deploy(role, &name, &spec.text(), expected, by).await?;
        deployed.insert(name, loaded, spec, revision);
        self.hosting
            .publish(&deployed.wanted())
            .await
            .map_err(|error| RegistryError::NotInService { revision, error })?;
        Ok(revision)
    }
}

impl Loaded {
    fn role(&self) -> Role {
        match self {
            Self::Pipeline(_) => Role::Pipeline,
            Self::Policy(_) => Role::Policy,
        }
    }
}

impl Deployed {
    fn insert(&mut self, name: Name, loaded: Loaded, spec: Spec, revision: u64) {
        match loaded {
            Loaded::Pipeline(loaded) => {
                self.pipelines.insert(name, Entry { loaded, spec, revision });
            }
            Loaded::Policy(loaded) => {
                self.policies.insert(name, Entry { loaded, spec, revision });
            }
        }
    }

    /// What is to be in service. A pipeline whose policy is not there is not cached.
    fn wanted(&self) -> Vec<Wanted> {
        let wanted = |of: &Entry<Pipeline>| {
            let policy = of.spec.policy.as_ref().and_then(|name| self.policies.get(name));
            Wanted {
                pipeline: Arc::clone(&of.loaded),
                policy: policy.map(|policy| Arc::clone(&policy.loaded)),
                revision: of.revision.max(policy.map_or(0, |policy| policy.revision)),
            }
        };
        self.pipelines.values().map(wanted).collect()
    }
}
