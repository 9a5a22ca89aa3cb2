//! What a server begins with: what administrators have deployed, and what its configuration names.
//!
//! A name belongs to the configuration until an administrator deploys something else under it. From then on the
//! configuration limits what is deployed, and no longer says what it is, until it is applied. Out of scope: what
//! happens to it while the server runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::system::{Expected, Role};
use weir_store::{SystemStore, TruthError};

use super::deployed::{Deployed, Loaded, Tried, Versions};
use super::loader::blocking;
use super::spec::{Source, Spec};
use super::{Loader, Registry, RegistryError};
use crate::deploy::hosting::Hosting;
use crate::engine::component::read_component;
use crate::pipeline;
use crate::pipeline::canary::Canary;
use crate::trial::Trials;

/// Who deploys what the configuration names, in the history.
pub(super) const CONFIGURATION: &str = "weir.toml";

/// What a server begins with, loaded and recorded, and not yet in service.
pub struct Beginning {
    loader: Arc<Loader>,
    system: Arc<dyn SystemStore>,
    deployed: Deployed,
    named: BTreeMap<(Role, Name), Spec>,
}

/// Why a server cannot begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration names plugins that cannot be used: all faults, a line or more for each.
    #[error("{}", Lines(.0))]
    Plugins(Vec<(Role, Name, RegistryError)>),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] RegistryError),
}

struct Lines<'a>(&'a [(Role, Name, RegistryError)]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (role, name, error)) in self.0.iter().enumerate() {
            let section = match role {
                Role::Pipeline => "pipelines",
                Role::Policy => "policies",
            };
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}[{section}.{name}]: {error}")?;
        }
        Ok(())
    }
}

/// A name that the configuration gives a plugin.
struct Named {
    role: Role,
    name: Name,
    spec: Spec,
    bytes: Bytes,
}

impl Beginning {
    /// Loads what was deployed and what is configured. What the configuration names takes the place of what
    /// administrators have deployed only if `apply` says so.
    ///
    /// # Errors
    /// The configuration names something that cannot be used, or a store failed. Then nothing is recorded.
    pub async fn load(
        loader: Loader,
        system: Arc<dyn SystemStore>,
        apply: bool,
    ) -> Result<Self, StartError> {
        let loader = Arc::new(loader);
        verify(&loader).await?;
        let mut recorded = recorded(&*system).await?;
        let mut deployed = Deployed::default();
        let mut all_named = BTreeMap::new();
        let (mut faults, mut new) = (Vec::new(), Vec::new());
        let (named, unreadable) = blocking({
            let loader = Arc::clone(&loader);
            move || named(&loader)
        })
        .await?;
        faults.extend(unreadable);
        for Named { role, name, spec, bytes } in named {
            all_named.insert((role, name.clone()), spec.clone());
            let before = recorded.remove(&(role, name.clone()));
            if let Some((before, revision)) = &before
                && (before.source == Source::Admin || before.candidate.is_some())
                && !apply
            {
                if !before.answers_like(&spec) {
                    warn!(
                        %role,
                        name = name.as_str(),
                        revision,
                        "the configuration differs from what an administrator has deployed, which stays; `weir \
                         apply` deploys what the configuration says"
                    );
                    store(&loader, bytes).await?;
                }
                keep(&loader, &mut deployed, role, name, before.clone(), *revision).await;
                continue;
            }
            match loader.load(role, &name, &spec, bytes.clone()).await {
                Ok(loaded) => new.push((name, loaded, spec, bytes, before)),
                Err(error) => faults.push((role, name, error)),
            }
        }
        if !faults.is_empty() {
            return Err(StartError::Plugins(faults));
        }
        for (name, loaded, spec, bytes, before) in new {
            let role = loaded.role();
            let revision = match before {
                Some((before, revision)) if before == spec => revision,
                _ => {
                    // So that it can be deployed again after something else.
                    store(&loader, bytes).await?;
                    let text = spec.text();
                    let recorded = system.deploy(role, &name, &text, Expected::Any, CONFIGURATION);
                    recorded.await.map_err(RegistryError::from)?
                }
            };
            deployed.insert(name, loaded, spec, revision);
        }
        for ((role, name), (spec, revision)) in recorded {
            match spec.source {
                Source::Admin => keep(&loader, &mut deployed, role, name, spec, revision).await,
                // The configuration does not name it any more.
                Source::Configuration => {
                    let gone = system.undeploy(role, &name, Expected::Any, CONFIGURATION);
                    gone.await.map_err(RegistryError::from)?;
                }
            }
        }
        Ok(Self { loader, system, deployed, named: all_named })
    }

    /// Puts all of it in service. What is uploaded is tried by `trials`. Changes run in `detached`, which a drain
    /// waits for.
    ///
    /// # Errors
    /// A truth failed.
    pub async fn serve(
        self,
        hosting: Hosting,
        trials: Trials,
        detached: TaskTracker,
    ) -> Result<Arc<Registry>, TruthError> {
        let Self { loader, system, deployed, named } = self;
        hosting.publish(&deployed.wanted()).await?;
        let tried = deployed.pipelines.iter().filter_map(|(name, of)| {
            let tried = of.loaded.candidate.as_ref()?;
            Some((name.clone(), Arc::clone(&tried.canary)))
        });
        let tried: Vec<_> = tried.collect();
        let deployed = Mutex::new(deployed);
        let trials = Arc::new(trials);
        let registry =
            Arc::new(Registry { loader, system, hosting, trials, deployed, named, detached });
        for (name, canary) in tried {
            registry.watch(name, &canary);
        }
        Ok(registry)
    }
}

async fn store(loader: &Arc<Loader>, bytes: Bytes) -> Result<(), RegistryError> {
    let loader = Arc::clone(loader);
    blocking(move || loader.files.put(&bytes)).await??;
    Ok(())
}

/// Loads what an administrator has deployed. If that fails, the others are served.
async fn keep(
    loader: &Arc<Loader>,
    deployed: &mut Deployed,
    role: Role,
    name: Name,
    spec: Spec,
    revision: u64,
) {
    match loader.stored(role, &name, &spec).await {
        Ok(Loaded::Pipeline(alone)) => {
            let versions = Versions {
                candidate: tried(loader, &name, &spec, revision).await,
                base: Arc::clone(&alone.base),
            };
            deployed.insert(name, Loaded::Pipeline(Arc::new(versions)), spec, revision);
        }
        Ok(loaded) => deployed.insert(name, loaded, spec, revision),
        Err(error) => error!(
            %role,
            name = name.as_str(),
            revision,
            %error,
            "what is deployed cannot be loaded, so it is not in service: deploy it again, or something else"
        ),
    }
}

/// Loads the candidate beside what an administrator has deployed. If that fails, there is none.
async fn tried(loader: &Arc<Loader>, name: &Name, spec: &Spec, revision: u64) -> Option<Tried> {
    let candidate = spec.candidate.as_ref()?.spec();
    match loader.stored(Role::Pipeline, name, &candidate).await {
        Ok(Loaded::Pipeline(versions)) => {
            Some(Tried { pipeline: Arc::clone(&versions.base), canary: Canary::begin() })
        }
        Ok(Loaded::Policy(_)) => None,
        Err(error) => {
            error!(
                name = name.as_str(),
                revision,
                %error,
                "the candidate cannot be loaded, so what it is compared with answers all requests"
            );
            None
        }
    }
}

async fn verify(loader: &Arc<Loader>) -> Result<(), RegistryError> {
    let files = Arc::clone(loader);
    let verified = blocking(move || files.files.verify()).await?.map_err(RegistryError::from)?;
    for name in verified.damaged {
        error!(plugin = %name, "the file of a plugin is damaged and was set aside: upload it again");
    }
    Ok(())
}

/// What the system store has, by role and name.
async fn recorded(
    system: &dyn SystemStore,
) -> Result<BTreeMap<(Role, Name), (Spec, u64)>, RegistryError> {
    let (deployed, _) = system.deployed().await?;
    let recorded = deployed.into_iter().map(|one| {
        let spec = Spec::parse(&one.spec)?;
        Ok(((one.role, one.name), (spec, one.revision)))
    });
    recorded.collect()
}

/// What the configuration names, policies first, and what cannot be read of that. Blocks.
fn named(loader: &Loader) -> (Vec<Named>, Vec<(Role, Name, RegistryError)>) {
    let configured = &loader.configured;
    let policies = configured.policies.iter().map(|(name, policy)| {
        (Role::Policy, name, &policy.component, None, &policy.settings, None)
    });
    let pipelines = configured.pipelines.iter().map(|(name, pipeline)| {
        let (policy, allowed) = (pipeline.policy.clone(), Some(allowed(pipeline)));
        (Role::Pipeline, name, &pipeline.component, policy, &pipeline.settings, allowed)
    });
    let (mut named, mut unreadable) = (Vec::new(), Vec::new());
    for (role, name, path, policy, settings, allowed) in policies.chain(pipelines) {
        match read_component(path, loader.limits.max_component_bytes) {
            Ok(bytes) => {
                let digest = PluginDigest::of(&bytes);
                let settings = settings.clone();
                let spec = Spec {
                    digest,
                    policy,
                    settings,
                    candidate: None,
                    source: Source::Configuration,
                    allowed,
                };
                let bytes = bytes.into();
                named.push(Named { role, name: name.clone(), spec, bytes });
            }
            Err(error) => unreadable.push((role, name.clone(), error.into())),
        }
    }
    (named, unreadable)
}

/// A digest of what a pipeline is allowed. Which pages may call it changes nothing of what it is.
fn allowed(pipeline: &pipeline::config::Pipeline) -> String {
    let anywhere =
        pipeline::config::Pipeline { component: PathBuf::new(), cors: None, ..pipeline.clone() };
    blake3::hash(format!("{anywhere:?}").as_bytes()).to_hex()[..16].to_owned()
}
