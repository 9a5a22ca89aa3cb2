//! Loads what is to be deployed: settles what a plugin may have, compiles it and links it.
//!
//! What the configuration names is compiled in this process, because the operator trusts it not to take too long, and
//! everything else in one of its own. Out of scope: what is in service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use wasmtime::component::Component;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::plugins::PluginFiles;
use weir_store::system::Role;

use super::deployed::{Loaded, Versions};
use super::error::RegistryError;
use super::spec::{Source, Spec};
use crate::engine::Engines;
use crate::engine::compile::{CodeCache, CompileError, Compiler, compile_here};
use crate::engine::component::LoadError;
use crate::engine::config::Engine;
use crate::engine::kind::Kind;
use crate::pipeline::{self, Pipeline};
use crate::plugin::manifest::Manifest;
use crate::plugin::resolve::resolve;
use crate::plugin::section;
use crate::plugin::settings::complete;
use crate::policy::{self, Policy, PolicyError};

/// What the configuration says of plugins.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    /// The pipelines that it names. What it allows them also limits what is deployed in their place.
    pub pipelines: BTreeMap<Name, pipeline::config::Pipeline>,
    /// The policies that it names.
    pub policies: BTreeMap<Name, policy::config::Policy>,
    /// What pipelines are allowed that it does not name.
    pub others: pipeline::config::Pipeline,
}

/// Loads plugins.
pub struct Loader {
    /// The engines, as long as the server lives.
    pub engines: Engines,
    /// The limits of guests.
    pub limits: Engine,
    /// What is allowed.
    pub configured: Configured,
    /// The files of plugins.
    pub files: PluginFiles,
    /// Where plugins are compiled that were uploaded.
    pub compiler: Compiler,
    /// Where compiled code is kept, if it is.
    pub code: Option<Arc<CodeCache>>,
}

impl Loader {
    /// Loads what is stored.
    ///
    /// # Errors
    /// It is not stored, is of another role, or is not allowed what it needs.
    pub(super) async fn stored(
        self: &Arc<Self>,
        role: Role,
        name: &Name,
        spec: &Spec,
    ) -> Result<Loaded, RegistryError> {
        let (loader, digest) = (Arc::clone(self), spec.digest);
        let bytes = blocking(move || loader.files.read(digest)).await??;
        self.load(role, name, spec, bytes.into()).await
    }

    /// Loads a plugin whose bytes are given.
    ///
    /// # Errors
    /// It is of another role, or is not allowed what it needs.
    pub(super) async fn load(
        self: &Arc<Self>,
        role: Role,
        name: &Name,
        spec: &Spec,
        bytes: Bytes,
    ) -> Result<Loaded, RegistryError> {
        let manifest = match manifest(&bytes) {
            // Compiling it says what it is.
            Err(_) if spec.source == Source::Configuration => None,
            manifest => manifest?,
        };
        match &manifest {
            Some(manifest) if manifest.role != role => {
                return Err(RegistryError::OtherRole { is: manifest.role, wanted: role });
            }
            _ => {}
        }
        match role {
            Role::Pipeline => {
                let config = self.pipeline_config(name, spec, manifest.as_ref())?;
                self.pipeline(name, spec, config, bytes).await
            }
            Role::Policy => {
                let config = self.policy_config(name, spec, manifest.as_ref())?;
                self.policy(name, spec, config, bytes).await
            }
        }
    }

    fn pipeline_config(
        &self,
        name: &Name,
        spec: &Spec,
        manifest: Option<&Manifest>,
    ) -> Result<pipeline::config::Pipeline, RegistryError> {
        let allowed = self.configured.pipelines.get(name).unwrap_or(&self.configured.others);
        let mut config = match manifest {
            Some(manifest) => {
                let resolved = resolve(manifest, name, allowed, &self.limits, &spec.settings);
                resolved.map_err(RegistryError::refused)?.narrowed(allowed)
            }
            None => {
                pipeline::config::Pipeline { settings: spec.settings.clone(), ..allowed.clone() }
            }
        };
        if spec.source == Source::Admin {
            config.component = called(spec.digest);
        }
        Ok(config)
    }

    fn policy_config(
        &self,
        name: &Name,
        spec: &Spec,
        manifest: Option<&Manifest>,
    ) -> Result<policy::config::Policy, RegistryError> {
        if spec.policy.is_some() {
            return Err(RegistryError::PolicyOfPolicy);
        }
        let settings = match manifest {
            Some(manifest) => {
                complete(&manifest.settings, &spec.settings).map_err(RegistryError::refused)?
            }
            None => spec.settings.clone(),
        };
        let configured = self.configured.policies.get(name);
        let component = match configured.filter(|_| spec.source == Source::Configuration) {
            Some(configured) => configured.component.clone(),
            None => called(spec.digest),
        };
        Ok(policy::config::Policy { component, settings })
    }

    async fn pipeline(
        self: &Arc<Self>,
        name: &Name,
        spec: &Spec,
        config: pipeline::config::Pipeline,
        bytes: Bytes,
    ) -> Result<Loaded, RegistryError> {
        let kind = Kind::of_pipelines(config.size);
        let component =
            self.compile(&self.engines, spec.source, kind, &config.component, bytes).await?;
        let (loader, name, digest) = (Arc::clone(self), name.clone(), spec.digest.to_string());
        let link = move || {
            let Self { engines, limits, .. } = &*loader;
            Pipeline::of_component(engines, name, &config, limits, &component, digest)
        };
        let base = Arc::new(blocking(link).await??);
        Ok(Loaded::Pipeline(Arc::new(Versions { base, candidate: None })))
    }

    async fn policy(
        self: &Arc<Self>,
        name: &Name,
        spec: &Spec,
        config: policy::config::Policy,
        bytes: Bytes,
    ) -> Result<Loaded, RegistryError> {
        let kind = Kind::Policies;
        let component =
            self.compile(&self.engines, spec.source, kind, &config.component, bytes).await?;
        let (loader, name, digest) = (Arc::clone(self), name.clone(), spec.digest.to_string());
        let link = move || {
            let Self { engines, limits, .. } = &*loader;
            let engine = &engines.policies;
            Policy::of_component(engine, name, &config, limits, &component, digest)
        };
        Ok(Loaded::Policy(Arc::new(blocking(link).await??)))
    }

    /// Compiles a component for one of these engines, unless its code is kept.
    pub(super) async fn compile(
        self: &Arc<Self>,
        engines: &Engines,
        source: Source,
        kind: Kind,
        path: &Path,
        bytes: Bytes,
    ) -> Result<Component, RegistryError> {
        let engine = engines.of(kind).ok_or(LoadError::NoLargeGuests)?.clone();
        if source == Source::Admin {
            let compiled = self.compiler.compile(kind, &engine, path, &bytes).await;
            return compiled.map_err(|error| match error {
                CompileError::Load(error) => refused(error, kind),
                error => error.into(),
            });
        }
        let (path, code) = (path.to_owned(), self.code.clone());
        let compile = move || compile_here(code.as_deref(), kind, &engine, &path, &bytes);
        blocking(compile).await?.map_err(|error| refused(error, kind))
    }
}

/// Why a component has not been compiled, in the words of its role.
fn refused(error: LoadError, kind: Kind) -> RegistryError {
    match kind.size() {
        Some(size) => error.with_advice(size).into(),
        None => PolicyError::from(error).into(),
    }
}

/// What errors call the component.
pub(super) fn called(digest: PluginDigest) -> PathBuf {
    PathBuf::from(format!("the plugin {digest}"))
}

/// The manifest that a component carries, if it does. What was uploaded has one, and what the configuration
/// names needs none.
///
/// # Errors
/// It is wrong.
pub(super) fn manifest(bytes: &[u8]) -> Result<Option<Manifest>, RegistryError> {
    match section::extract(bytes).map_err(RegistryError::refused)? {
        Some(text) => Manifest::parse(text).map(Some).map_err(RegistryError::refused),
        None => Ok(None),
    }
}

/// Does what blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RegistryError> {
    spawn_blocking(work).await.map_err(|error| RegistryError::Failed(error.to_string()))
}
