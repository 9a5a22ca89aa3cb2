//! Deploys what the configuration says again, where administrators have deployed something else.
//!
//! It is the configuration as it was when the server started. Out of scope: changes of the file since then, which a
//! restart reads.

use std::sync::Arc;

use weir_core::name::Name;
use weir_store::system::{Expected, Role};

use super::Registry;
use super::error::RegistryError;
use super::spec::Spec;
use super::start::CONFIGURATION;

/// Something that was deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its role.
    pub role: Role,
    /// Its name.
    pub name: Name,
    /// The revision that deployed it.
    pub revision: u64,
}

impl Registry {
    /// Deploys everything that the configuration names as it says, policies first. What is so already stays.
    ///
    /// # Errors
    /// Something cannot be deployed. Those before it are.
    pub async fn apply(self: &Arc<Self>) -> Result<Vec<Applied>, RegistryError> {
        let mut applied = Vec::new();
        for role in [Role::Policy, Role::Pipeline] {
            for ((_, name), spec) in self.named.iter().filter(|((of, _), _)| *of == role) {
                let is_so = {
                    let deployed = self.deployed.lock().await;
                    let known = deployed.of(role).into_iter().find(|(known, ..)| *known == name);
                    known.is_some_and(|(_, known, _)| known == spec)
                };
                if is_so {
                    continue;
                }
                let (expected, name) = (Expected::Any, name.clone());
                let revision =
                    self.deploy(role, name.clone(), spec.clone(), expected, CONFIGURATION).await?;
                applied.push(Applied { role, name, revision });
            }
        }
        Ok(applied)
    }

    /// Whether the configuration says something else than what is deployed.
    pub(super) fn has_drifted(&self, role: Role, name: &Name, deployed: &Spec) -> bool {
        let named = self.named.get(&(role, name.clone()));
        named.is_some_and(|named| !named.answers_like(deployed) || deployed.candidate.is_some())
    }
}
