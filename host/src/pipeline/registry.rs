//! The pipelines in service, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use weir_backends::name::Name;

use super::load::{Deployment, LoadError};
use crate::config::{self, Config};
use crate::engine::Engines;
use crate::policy::{self, PolicyError};

/// Why not everything that is configured can be hosted.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A policy; the cause says which.
    #[error("[policies]")]
    Policy(#[from] PolicyError),
    /// A pipeline.
    #[error("[pipelines.{name}]: {error}")]
    Pipeline {
        /// Its name.
        name: Name,
        /// What is wrong with it.
        error: LoadError,
    },
}

/// What is hosted. Loaded as a whole at start.
#[derive(Default)]
pub struct Registry {
    deployments: BTreeMap<Name, Arc<Deployment>>,
}

impl Registry {
    /// A registry of `deployments`, by their names.
    #[must_use]
    pub fn new(deployments: impl IntoIterator<Item = Deployment>) -> Self {
        let named = |deployment: Deployment| (deployment.name.clone(), Arc::new(deployment));
        Self { deployments: deployments.into_iter().map(named).collect() }
    }

    /// Loads every policy and every pipeline of `config`.
    ///
    /// # Errors
    /// The first that cannot be loaded, by its name in the configuration.
    pub fn load(engines: &Engines, config: &Config) -> Result<Self, RegistryError> {
        let policies = policy::component::load_all(&engines.policies, config)?;
        let load = |(name, pipeline): (&Name, &config::Pipeline)| {
            let policy = pipeline.policy.as_ref().and_then(|name| policies.get(name)).cloned();
            let engine = &engines.pipelines;
            Deployment::load(engine, name.clone(), pipeline, policy, &config.engine)
                .map_err(|error| RegistryError::Pipeline { name: name.clone(), error })
        };
        Ok(Self::new(config.pipelines.iter().map(load).collect::<Result<Vec<_>, _>>()?))
    }

    /// The names of all of them.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.deployments.keys().map(Name::as_str).collect()
    }

    /// The deployment called `name`.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Arc<Deployment>> {
        self.deployments.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments.values()
    }
}
