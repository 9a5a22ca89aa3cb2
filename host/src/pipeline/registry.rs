//! The pipelines in service, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_backends::name::Name;

use super::load::Deployment;

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
