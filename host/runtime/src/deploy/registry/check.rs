//! Checks a plugin before it is stored: loads it with everything that its manifest asks for, which is what it may
//! import, and has it handle the samples of its manifest.
//!
//! All of that is on the engines of trials, so it takes no place of what is served. Out of scope: what a trial is
//! ([`crate::trial`]), and what operators allow, which only deploying it asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::system::Role;

use super::error::RegistryError;
use super::loader::{Loader, blocking, called};
use super::spec::Source;
use crate::engine::kind::Kind;
use crate::pipeline::Pipeline;
use crate::plugin::manifest::Manifest;
use crate::plugin::settings::complete;
use crate::policy::{Policy, PolicyError};
use crate::settings::Settings;
use crate::trial::Trials;
use crate::trial::samples::{self, SamplesError};
use crate::{pipeline, policy};

/// The name of every pipeline that is tried, as a label of metrics.
const TRIED: &str = "weir.trial";

/// Checks a plugin.
///
/// # Errors
/// It cannot be used, or the host failed.
pub(super) async fn check(
    loader: &Arc<Loader>,
    trials: &Arc<Trials>,
    digest: PluginDigest,
    manifest: &Manifest,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    match manifest.role {
        Role::Pipeline => pipeline(loader, trials, digest, manifest, bytes).await,
        Role::Policy => policy(loader, trials, digest, manifest, bytes).await,
    }
}

async fn pipeline(
    loader: &Arc<Loader>,
    trials: &Arc<Trials>,
    digest: PluginDigest,
    manifest: &Manifest,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    let settings = complete(&manifest.settings, &Settings::default()).ok();
    let is_complete = settings.is_some();
    let config = trials.config(manifest, settings.unwrap_or_default());
    let config = pipeline::config::Pipeline { component: called(digest), ..config };
    let (engines, kind) = (trials.engines(), Kind::of_pipelines(config.size));
    let component = loader.compile(engines, Source::Admin, kind, &config.component, bytes).await?;
    let name = Name::new(TRIED).map_err(RegistryError::refused)?;
    let linking = Arc::clone(trials);
    let link = move || {
        let (engines, limits, digest) = (linking.engines(), linking.limits(), digest.to_string());
        Pipeline::of_component(engines, name, &config, limits, &component, digest)
    };
    let pipeline = Arc::new(blocking(link).await??);
    if manifest.samples.is_empty() {
        return Ok(());
    }
    let plugin = manifest.name.as_str();
    if !is_complete {
        tracing::info!(
            plugin,
            "the samples of a plugin are not tried, because it has a setting that must be set"
        );
        return Ok(());
    }
    let trial = trials.begin(&manifest.name).await?;
    let budget = Duration::from_millis(trials.limits().samples_timeout_ms);
    let failed = samples::failed(&trial, &pipeline, manifest, budget).await?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(SamplesError { plugin: format!("{plugin} {}", manifest.version), failed }.into())
}

async fn policy(
    loader: &Arc<Loader>,
    trials: &Arc<Trials>,
    digest: PluginDigest,
    manifest: &Manifest,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    let (engines, path) = (trials.engines(), called(digest));
    let component = loader.compile(engines, Source::Admin, Kind::Policies, &path, bytes).await?;
    let defaults = manifest.settings.iter();
    let defaults = defaults.filter_map(|(name, of)| Some((name.clone(), of.default.clone()?)));
    let settings = Settings(defaults.collect());
    let must_be_set = settings.0.len() < manifest.settings.len();
    let config = policy::config::Policy { component: path, settings };
    let (linking, name) = (Arc::clone(trials), manifest.name.clone());
    let link = move || {
        let (engine, limits) = (&linking.engines().policies, linking.limits());
        Policy::of_component(engine, name, &config, limits, &component, digest.to_string())
    };
    match blocking(link).await? {
        // It may refuse to be without what a deployment must set.
        Err(PolicyError::Refused { .. }) if must_be_set => Ok(()),
        linked => Ok(linked.map(drop)?),
    }
}
