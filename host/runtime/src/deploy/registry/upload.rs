//! Stores plugins: checked, compiled and tried first (`check`), so that what is stored can be deployed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::plugins::PluginFileError;
use weir_store::system::{Role, UploadedPlugin};

use super::Registry;
use super::check;
use super::error::RegistryError;
use super::loader::{blocking, manifest};

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

    /// Checks a plugin: its manifest, its world, its imports, that it compiles, within the limits of that, and that
    /// it can handle the samples of its manifest. Then it is stored.
    ///
    /// # Errors
    /// The plugin cannot be used, or a store failed. Then it is not stored.
    pub async fn upload(&self, bytes: Bytes, by: &str) -> Result<Stored, RegistryError> {
        let digest = PluginDigest::of(&bytes);
        let manifest = manifest(&bytes)?.ok_or(RegistryError::NoManifest)?;
        check::check(&self.loader, &self.trials, digest, &manifest, bytes.clone()).await?;
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
}

fn stored(plugin: UploadedPlugin, is_new: bool) -> Stored {
    let UploadedPlugin { digest, name, version, role, bytes, uploaded_unix_ms, .. } = plugin;
    Stored { digest, name, version, role, bytes, uploaded_unix_ms, is_new }
}

pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
