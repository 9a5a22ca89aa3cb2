//! What is deployed under each name, loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::name::Name;
use weir_store::system::Role;

use super::error::RegistryError;
use super::spec::{Candidate, Spec};
use crate::deploy::split::Split;
use crate::deploy::{Wanted, WantedCandidate, WantedVersion};
use crate::pipeline::Pipeline;
use crate::pipeline::canary::Canary;
use crate::policy::Policy;

/// What is in service, by name.
#[derive(Default)]
pub(super) struct Deployed {
    pub(super) policies: BTreeMap<Name, Entry<Policy>>,
    pub(super) pipelines: BTreeMap<Name, Entry<Versions>>,
}

/// What one name has.
pub(super) struct Entry<T> {
    pub(super) loaded: Arc<T>,
    pub(super) spec: Spec,
    pub(super) revision: u64,
}

/// The component of a pipeline, and the one that is tried beside it.
pub(super) struct Versions {
    pub(super) base: Arc<Pipeline>,
    pub(super) candidate: Option<Tried>,
}

/// A component that is tried.
#[derive(Clone)]
pub(super) struct Tried {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) canary: Arc<Canary>,
}

/// What is loaded, and not yet deployed.
pub(super) enum Loaded {
    Pipeline(Arc<Versions>),
    Policy(Arc<Policy>),
}

impl Loaded {
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Pipeline(_) => Role::Pipeline,
            Self::Policy(_) => Role::Policy,
        }
    }
}

impl Deployed {
    pub(super) fn insert(&mut self, name: Name, loaded: Loaded, spec: Spec, revision: u64) {
        match loaded {
            Loaded::Pipeline(loaded) => {
                self.pipelines.insert(name, Entry { loaded, spec, revision });
            }
            Loaded::Policy(loaded) => {
                self.policies.insert(name, Entry { loaded, spec, revision });
            }
        }
    }

    pub(super) fn remove(&mut self, role: Role, name: &Name) {
        match role {
            Role::Pipeline => drop(self.pipelines.remove(name)),
            Role::Policy => drop(self.policies.remove(name)),
        }
    }

    /// The specs and revisions of a role, by name.
    pub(super) fn of(&self, role: Role) -> Vec<(&Name, &Spec, u64)> {
        match role {
            Role::Pipeline => {
                self.pipelines.iter().map(|(name, of)| (name, &of.spec, of.revision)).collect()
            }
            Role::Policy => {
                self.policies.iter().map(|(name, of)| (name, &of.spec, of.revision)).collect()
            }
        }
    }

    /// Refuses the name of a policy that is not deployed.
    pub(super) fn expect_policy(&self, policy: Option<&Name>) -> Result<(), RegistryError> {
        match policy.filter(|name| !self.policies.contains_key(*name)) {
            Some(policy) => Err(RegistryError::UnknownPolicy(policy.clone())),
            None => Ok(()),
        }
    }

    /// Refuses to swap a policy while a candidate is compared under it: two versions would have one revision.
    pub(super) fn expect_no_trial(&self, policy: &Name) -> Result<(), RegistryError> {
        match self.under(policy).find(|(_, has_candidate)| *has_candidate) {
            Some((pipeline, _)) => Err(RegistryError::InTrial(pipeline.clone())),
            None => Ok(()),
        }
    }

    /// The pipelines that this policy decides for, and whether each also has a candidate.
    pub(super) fn under<'a>(&'a self, policy: &'a Name) -> impl Iterator<Item = (&'a Name, bool)> {
        self.pipelines.iter().filter_map(move |(name, of)| {
            let candidate = of.spec.candidate.as_ref();
            let policies = [of.spec.policy.as_ref(), candidate.and_then(|of| of.policy.as_ref())];
            policies.contains(&Some(policy)).then_some((name, candidate.is_some()))
        })
    }

    /// What is to be in service. A pipeline whose policy is not there is not cached.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.pipelines.iter().map(|(name, of)| self.wanted_as(name, of)).collect()
    }

    fn wanted_as(&self, name: &Name, of: &Entry<Versions>) -> Wanted {
        let Versions { base, candidate } = &*of.loaded;
        let tried = candidate.as_ref().zip(of.spec.candidate.as_ref());
        let revision = tried.map_or(of.revision, |(_, candidate)| candidate.base_revision);
        let candidate = tried.map(|(tried, candidate)| {
            let Candidate { policy, split_by, weight_percent, .. } = candidate;
            WantedCandidate {
                version: self.version(&tried.pipeline, policy.as_ref(), of.revision),
                split: Split::new(name, split_by.clone(), *weight_percent),
                canary: Arc::clone(&tried.canary),
            }
        });
        Wanted { base: self.version(base, of.spec.policy.as_ref(), revision), candidate }
    }

    fn version(
        &self,
        pipeline: &Arc<Pipeline>,
        policy: Option<&Name>,
        revision: u64,
    ) -> WantedVersion {
        let policy = policy.and_then(|name| self.policies.get(name));
        WantedVersion {
            pipeline: Arc::clone(pipeline),
            policy: policy.map(|policy| Arc::clone(&policy.loaded)),
            // Whoever swaps a policy changes what is answered, too.
            revision: revision.max(policy.map_or(0, |policy| policy.revision)),
        }
    }
}
