//! Stores plugins: checked, compiled and tried first, so that what is stored can be deployed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::plugins::PluginFileError;
use weir_store::system::{Role, UploadedPlugin};

use super::Registry;
use super::error::RegistryError;
use super::loader::{blocking, called, manifest};
use super::spec::Source;
use crate::engine::kind::Kind;
use crate::pipeline::Pipeline;
use crate::plugin::manifest::Manifest;
use crate::plugin::settings::complete;
use crate::policy::{Policy, PolicyError};
use crate::settings::Settings;
use crate::trial::samples::{self, SamplesError};
use crate::{pipeline, policy};

/// The name of a pipeline that is tried, in metrics.
const TRIED: &str = "weir.trial";
/// How long the samples of one plugin may take together.
const SAMPLES_BUDGET: Duration = Duration::from_secs(30);

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

    /// Loads a plugin with everything that its manifest asks for, which is what it may import, and tries it.
    /// All of that is on the engines of trials, so it takes no place of what is served.
    async fn check(
        &self,
        digest: PluginDigest,
        manifest: &Manifest,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let (loader, path) = (Arc::clone(&self.loader), called(digest));
        let trials = Arc::clone(&self.trials);
        let digest = digest.to_string();
        match manifest.role {
            Role::Pipeline => {
                let settings = complete(&manifest.settings, &Settings::default()).ok();
                let config = trials.config(manifest, settings.clone().unwrap_or_default());
                let config = pipeline::config::Pipeline { component: path.clone(), ..config };
                let kind = Kind::of_pipelines(config.size);
                let engines = trials.engines();
                let component = loader.compile(engines, Source::Admin, kind, &path, bytes).await?;
                let link = {
                    let trials = Arc::clone(&trials);
                    // One name for all: it is a label of metrics.
                    let name = Name::new(TRIED).map_err(RegistryError::refused)?;
                    move || {
                        let (engines, limits) = (trials.engines(), trials.limits());
                        Pipeline::of_component(engines, name, &config, limits, &component, digest)
                    }
                };
                let pipeline = Arc::new(blocking(link).await??);
                match settings {
                    Some(_) => self.try_samples(&pipeline, manifest).await?,
                    None => tracing::info!(
                        plugin = manifest.name.as_str(),
                        "the samples of a plugin are not tried, because it has a setting that must be set"
                    ),
                }
            }
            Role::Policy => {
                let (engines, name) = (trials.engines(), manifest.name.clone());
                let component =
                    loader.compile(engines, Source::Admin, Kind::Policies, &path, bytes).await?;
                let defaults = manifest
                    .settings
                    .iter()
                    .filter_map(|(name, declared)| Some((name.clone(), declared.default.clone()?)));
                let settings = Settings(defaults.collect());
                let must_be_set = settings.0.len() < manifest.settings.len();
                let config = policy::config::Policy { component: path, settings };
                let link = move || {
                    let (engine, limits) = (&trials.engines().policies, trials.limits());
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

impl Registry {
    async fn try_samples(
        &self,
        pipeline: &Arc<Pipeline>,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        if manifest.samples.is_empty() {
            return Ok(());
        }
        let trial = self.trials.begin(&manifest.name).await?;
        let failed = samples::failed(&trial, pipeline, manifest, SAMPLES_BUDGET).await?;
        if failed.is_empty() {
            return Ok(());
        }
        let plugin = format!("{} {}", manifest.name, manifest.version);
        Err(SamplesError { plugin, failed }.into())
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
