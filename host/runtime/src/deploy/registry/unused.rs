//! Which stored plugins are needed, and the removal of those that are not.
//!
//! A plugin is needed by a name that it is deployed as, tried beside, or that a rollback would deploy it as again.
//! What was undeployed needs nothing. Out of scope: when to remove them, which administrators decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_core::digest::PluginDigest;
use weir_store::system::Role;

use super::Registry;
use super::deployed::Deployed;
use super::error::RegistryError;
use super::loader::blocking;
use super::need::{Need, Reason};
use super::upload::unix_ms;

/// What needs each plugin.
pub type Needs = BTreeMap<PluginDigest, Vec<Need>>;

impl Registry {
    /// What needs each plugin that something needs.
    ///
    /// # Errors
    /// The system store failed.
    pub async fn needs(&self) -> Result<Needs, RegistryError> {
        let deployed = self.deployed.lock().await;
        self.needed(&deployed).await
    }

    /// Removes a plugin that nothing needs.
    ///
    /// # Errors
    /// It is not stored, something needs it, or a store failed.
    pub async fn remove(self: &Arc<Self>, digest: PluginDigest) -> Result<(), RegistryError> {
        let registry = Arc::clone(self);
        self.to_its_end(async move {
            let deployed = registry.deployed.lock().await;
            if let Some(need) =
                registry.needed(&deployed).await?.get(&digest).and_then(|of| of.first())
            {
                return Err(RegistryError::PluginInUse { digest, need: need.clone() });
            }
            let is_known = registry.system.plugin(digest).await?.is_some();
            let was_there = registry.forget(digest).await?;
            if is_known || was_there { Ok(()) } else { Err(RegistryError::UnknownPlugin(digest)) }
        })
        .await
    }

    /// Removes all plugins that nothing needs and that were uploaded at least so long ago, and the files of those
    /// that `weir.toml` named once; or only says which. Returns their digests.
    ///
    /// # Errors
    /// A store failed. Those that were removed before are.
    pub async fn remove_unused(
        self: &Arc<Self>,
        uploaded_before: Duration,
        only_say: bool,
    ) -> Result<Vec<PluginDigest>, RegistryError> {
        let registry = Arc::clone(self);
        self.to_its_end(async move {
            let deployed = registry.deployed.lock().await;
            let needs = registry.needed(&deployed).await?;
            let ago_ms = u64::try_from(uploaded_before.as_millis()).unwrap_or(u64::MAX);
            let before = unix_ms().saturating_sub(ago_ms);
            let uploaded = registry.system.plugins().await?;
            let recent = uploaded.iter().filter(|plugin| plugin.uploaded_unix_ms > before);
            let recent: BTreeSet<_> = recent.map(|plugin| plugin.digest).collect();
            let loader = Arc::clone(&registry.loader);
            let files = blocking(move || loader.files.list()).await??;
            let stored = files.iter().map(|file| file.digest);
            let stored = stored.chain(uploaded.iter().map(|plugin| plugin.digest));
            let stored: BTreeSet<_> = stored.collect();
            let is_unused =
                |digest: &PluginDigest| !needs.contains_key(digest) && !recent.contains(digest);
            let unused: Vec<_> = stored.into_iter().filter(is_unused).collect();
            if !only_say {
                for digest in &unused {
                    registry.forget(*digest).await?;
                }
            }
            Ok(unused)
        })
        .await
    }

    /// First the record: what is recorded is stored, after a crash too.
    async fn forget(&self, digest: PluginDigest) -> Result<bool, RegistryError> {
        self.system.remove_plugin(digest).await?;
        let loader = Arc::clone(&self.loader);
        Ok(blocking(move || loader.files.remove(digest)).await??)
    }

    async fn needed(&self, deployed: &Deployed) -> Result<Needs, RegistryError> {
        let mut needs = Needs::new();
        for role in [Role::Pipeline, Role::Policy] {
            for (name, spec, _) in deployed.of(role) {
                let mut add = |digest, reason| {
                    let need = Need { role, name: name.clone(), reason };
                    needs.entry(digest).or_default().push(need);
                };
                add(spec.digest, Reason::Deployed);
                if let Some(candidate) = &spec.candidate {
                    add(candidate.digest, Reason::Candidate);
                }
                match self.before(role, name).await {
                    Ok(before) => add(before.digest, Reason::Rollback),
                    Err(RegistryError::NothingBefore { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for ((role, name), spec) in &self.named {
            let reason = Reason::Configuration;
            let of = needs.entry(spec.digest).or_default();
            of.push(Need { role: *role, name: name.clone(), reason });
        }
        Ok(needs)
    }
}
