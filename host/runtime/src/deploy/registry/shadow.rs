//! Tries a candidate for a cache policy in shadow: it decides on live traffic, and has no effect. Out of scope: what is
//! compared (`shadow`).

use std::sync::Arc;

use weir_core::name::Name;
use weir_store::system::Role;

use super::Registry;
use super::deployed::Loaded;
use super::error::RegistryError;
use super::spec::Spec;
use crate::policy::apart::MAX_DECISIONS_APART;
use crate::shadow::Shadow;
use crate::shadow::report::Report;

/// What is tried, and what it has found out.
#[derive(Debug)]
pub struct Tried {
    /// The digest of the candidate.
    pub digest: String,
    /// What it has found out.
    pub report: Report,
}

impl Registry {
    /// Begins to try a plugin as this policy, which is deployed. Nothing is recorded.
    ///
    /// # Errors
    /// The policy is not deployed, the plugin cannot be used as it, or another one is being tried.
    pub async fn shadow(self: &Arc<Self>, name: Name, spec: Spec) -> Result<(), RegistryError> {
        let Loaded::Policy(candidate) = self.loader.stored(Role::Policy, &name, &spec).await?
        else {
            return Err(RegistryError::Failed("a policy was loaded as a pipeline".to_owned()));
        };
        let deployed = self.deployed.lock().await;
        let Some(policy) = deployed.policies.get(&name) else {
            return Err(RegistryError::UnknownPolicy(name));
        };
        self.expect_stored(spec.digest).await?;
        let shadows = self.hosting.shadows();
        let shadowing = shadows.of(&name);
        if shadowing.is_on() {
            return Err(RegistryError::InShadow(name));
        }
        if shadows.running() >= MAX_DECISIONS_APART {
            return Err(RegistryError::TooManyShadows(MAX_DECISIONS_APART));
        }
        let shadow = Shadow::begin(Arc::clone(&policy.loaded), candidate)
            .map_err(|error| RegistryError::Failed(error.to_string()))?;
        drop(shadowing.replace(Some(Arc::new(shadow))));
        Ok(())
    }

    /// What the candidate that is tried as this policy has found out so far.
    ///
    /// # Errors
    /// None is tried.
    pub async fn shadow_report(&self, name: &Name) -> Result<Tried, RegistryError> {
        let shadow = self.hosting.shadows().get(name);
        let shadow = shadow.ok_or_else(|| RegistryError::NoShadow(name.clone()))?;
        tried(&shadow).await
    }

    /// Ends trying a candidate as this policy, and returns what it has found out.
    ///
    /// # Errors
    /// None is tried.
    pub async fn end_shadow(&self, name: &Name) -> Result<Tried, RegistryError> {
        let shadow = self.hosting.shadows().take(name);
        let shadow = shadow.ok_or_else(|| RegistryError::NoShadow(name.clone()))?;
        shadow.end("ended");
        tried(&shadow).await
    }
}

async fn tried(shadow: &Shadow) -> Result<Tried, RegistryError> {
    let failed = || RegistryError::Failed("what compares the candidate has failed".to_owned());
    let report = shadow.report().await.ok_or_else(failed)?;
    Ok(Tried { digest: shadow.candidate_digest().to_owned(), report })
}
