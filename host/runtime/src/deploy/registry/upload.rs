//! Stores plugins: checked and compiled first, so that what is stored can be deployed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::plugins::PluginFileError;
use weir_store::system::{Role, UploadedPlugin};

use super::Registry;
use super::error::RegistryError;
use super::loader::{Loader, blocking, called, manifest};
use super::spec::Source;
use crate::engine::kind::Kind;
use crate::pipeline::Pipeline;
use crate::plugin::manifest::Manifest;
use crate::policy::{Policy, PolicyError};
use crate::settings::Settings;
use crate::{pipeline, policy};

/// A plugin that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which one.
    pub digest: PluginDigest,
    /// The name in its manifest.
    pub name: Name,
    /// The version in its manifest.
    pub version: String,
    /// What it is for.
    pub role: Role,
    /// Its size.
    pub bytes: u64,
    /// When it was uploaded, in milliseconds since 1970.
    pub uploaded_unix_ms: u64,
    /// Whether it was not stored before.
    pub is_new: bool,
}

impl Registry {
    /// The largest plugin, in bytes.
    #[must_use]
    pub fn max_component_bytes(&self) -> usize {
        usize::try_from(self.loader.limits.max_component_bytes).unwrap_or(usize::MAX)
    }

    /// All plugins that were uploaded, the newest first.
    ///
    /// # Errors
    /// The system store failed.
    pub async fn stored(&self) -> Result<Vec<Stored>, RegistryError> {
        Ok(self.system.plugins().await?.into_iter().map(|plugin| stored(plugin, false)).collect())
    }

    /// Checks a plugin: its manifest, its world, its imports, and that it compiles, within the limits of that.
    /// Then it is stored.
    ///
    /// # Errors
    /// The plugin cannot be used, or a store failed. Then it is not stored.
    pub async fn upload(&self, bytes: Bytes, by: &str) -> Result<Stored, RegistryError> {
        let digest = PluginDigest::of(&bytes);
        let manifest = manifest(&bytes)?.ok_or(RegistryError::NoManifest)?;
        self.check(digest, &manifest, bytes.clone()).await?;
        // So that nobody removes it in between.
        let _deployed = self.deployed.lock().await;
        let (loader, size) = (Arc::clone(&self.loader), bytes.len() as u64);
        blocking(move || -> Result<_, PluginFileError> { loader.files.put(&bytes) }).await??;
        let plugin = UploadedPlugin {
            digest,
            name: manifest.name,
            version: manifest.version,
            role: manifest.role,
            bytes: size,
            uploaded_unix_ms: unix_ms(),
            uploaded_by: by.to_owned(),
        };
        let is_new = self.system.add_plugin(plugin.clone()).await?;
        Ok(stored(plugin, is_new))
    }

    /// Loads a plugin with everything that its manifest asks for, which is what it may import.
    async fn check(
        &self,
        digest: PluginDigest,
        manifest: &Manifest,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let (loader, path) = (Arc::clone(&self.loader), called(digest));
        let (name, digest) = (manifest.name.clone(), digest.to_string());
        match manifest.role {
            Role::Pipeline => {
                let size = manifest.limits.size.unwrap_or_default();
                let kind = Kind::of_pipelines(size);
                let component = loader.compile(Source::Admin, kind, &path, bytes).await?;
                let config = pipeline::config::Pipeline {
                    component: path,
                    grants: manifest.grants.clone(),
                    size,
                    ..Default::default()
                };
                let link = move || {
                    let Loader { engines, limits, .. } = &*loader;
                    Pipeline::of_component(engines, name, &config, limits, &component, digest)
                };
                blocking(link).await??;
            }
            Role::Policy => {
                let component = loader.compile(Source::Admin, Kind::Policies, &path, bytes).await?;
                let defaults = manifest
                    .settings
                    .iter()
                    .filter_map(|(name, declared)| Some((name.clone(), declared.default.clone()?)));
                let settings = Settings(defaults.collect());
                let must_be_set = settings.0.len() < manifest.settings.len();
                let config = policy::config::Policy { component: path, settings };
                let link = move || {
                    let (engine, limits) = (&loader.engines.policies, &loader.limits);
                    Policy::of_component(engine, name, &config, limits, &component, digest)
                };
                match blocking(link).await? {
                    // It may refuse to be without what a deployment must set.
                    Err(PolicyError::Refused { .. }) if must_be_set => {}
                    linked => drop(linked?),
                }
            }
        }
        Ok(())
    }
}

fn stored(plugin: UploadedPlugin, is_new: bool) -> Stored {
    let UploadedPlugin { digest, name, version, role, bytes, uploaded_unix_ms, .. } = plugin;
    Stored { digest, name, version, role, bytes, uploaded_unix_ms, is_new }
}

pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
