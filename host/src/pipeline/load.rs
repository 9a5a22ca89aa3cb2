//! A component becomes a deployment: everything that can be wrong with it is found here, at
//! load, and said at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmtime::component::Component;
use weir_backends::name::Name;
use weir_bindings::pipeline::PipelinePre;
use weir_cache::key::KeyPrefix;

use super::call::GuestState;
use super::counters::Counters;
use crate::capability::grants::{Grant, Grants, UnknownGrant};
use crate::capability::link;
use crate::config;
use crate::policy::Policy;

/// Linked for every plugin: types alone reach nothing.
const TYPES: [&str; 3] = ["weir:embedding/types", "weir:vector/types", "weir:pipeline/types"];
/// What a pipeline exports, without its version.
const HANDLER: &str = "weir:pipeline/handler";

/// A pipeline in service.
pub struct Deployment {
    /// The name that clients call it by.
    pub name: Name,
    /// The path that it is called at, in its one spelling.
    pub path: String,
    /// Hex sha-256 of the component.
    pub digest: String,
    /// Whether it imports a writer: never looked up, coalesced or stored.
    pub writes: bool,
    /// Its cache policy; without one, it is never cached.
    pub policy: Option<Arc<Policy>>,
    /// For its whole run.
    pub deadline: Duration,
    /// Hex sha-256 of the settings.
    pub settings_digest: String,
    /// What stands in front of its keys, once it is known.
    pub key_prefix: OnceLock<KeyPrefix>,
    /// What it has done so far.
    pub counters: Counters,
    pub(super) pre: PipelinePre<GuestState>,
    pub(super) settings: Arc<BTreeMap<String, String>>,
    pub(super) limits: Limits,
    /// Imports random numbers, which no key can hold.
    pub(super) untracked: bool,
}

/// What one request of a deployment may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_memory_bytes: usize,
    pub(super) max_answer_bytes: usize,
    pub(super) max_host_calls: usize,
}

/// Why a component cannot be a pipeline.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// The file is larger than a component may be.
    #[error("{path} has {bytes} bytes; engine.max_component_bytes is {max_bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// Not a component: a core module, a text, or damaged.
    #[error("{path} is no WebAssembly component that this host runs: {reason}")]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// wasmtime's reason.
        reason: String,
    },
    /// It does not export what a plugin of this role does.
    #[error("{path} does not have the right world: it exports {exports}, not {needed}")]
    WrongWorld {
        /// The file.
        path: PathBuf,
        /// What it exports.
        exports: String,
        /// What it would have to export.
        needed: &'static str,
    },
    /// It imports what it was not granted, or what nobody offers; all of it at once.
    #[error("{path} cannot be loaded:\n  {}", problems.join("\n  "))]
    Imports {
        /// The file.
        path: PathBuf,
        /// A line for each import.
        problems: Vec<String>,
    },
    /// The configuration grants something that does not exist.
    #[error(transparent)]
    UnknownGrant(#[from] UnknownGrant),
}

impl Deployment {
    /// Loads, checks and links the component of `[pipelines.NAME]`.
    ///
    /// # Errors
    /// Everything that is wrong with the file, its world, its imports or its grants.
    pub fn load(
        engine: &wasmtime::Engine,
        name: Name,
        pipeline: &config::Pipeline,
        policy: Option<Arc<Policy>>,
        defaults: &config::Engine,
    ) -> Result<Self, LoadError> {
        let path = &pipeline.component;
        let bytes = read_component(path, defaults.max_component_bytes)?;
        let component = compile(engine, path, &bytes)?;
        check_export(engine, path, &component, HANDLER)?;
        let grants = Grants::parse(&pipeline.grants)?;
        let imports = import_names(engine, &component);
        check_imports(path, &imports, &grants)?;
        let not_a_component = |error: wasmtime::Error| LoadError::NotAComponent {
            path: path.clone(),
            reason: format!("{error:#}"),
        };
        let with_wasi = imports.iter().any(|import| import.starts_with("wasi:"));
        let linker = link(engine, &grants, with_wasi).map_err(not_a_component)?;
        let pre = linker.instantiate_pre(&component).and_then(PipelinePre::new);
        let settings = pipeline.settings.pairs();
        let settings_text = serde_json::Value::from_iter(settings.clone()).to_string();
        Ok(Self {
            counters: Counters::new(&name),
            path: format!("/v1/pipelines/{name}"),
            key_prefix: OnceLock::new(),
            settings_digest: hex::encode(Sha256::digest(settings_text)),
            name,
            digest: hex::encode(Sha256::digest(&bytes)),
            writes: imports.iter().filter_map(|import| granted_by(import)).any(Grant::writes),
            policy,
            deadline: Duration::from_millis(pipeline.deadline_ms.unwrap_or(defaults.deadline_ms)),
            pre: pre.map_err(not_a_component)?,
            settings: Arc::new(settings.into_iter().collect()),
            limits: Limits {
                max_memory_bytes: pipeline.max_memory_bytes.unwrap_or(defaults.max_memory_bytes),
                max_answer_bytes: defaults.max_answer_bytes,
                max_host_calls: defaults.max_concurrent_host_calls,
            },
            untracked: imports.iter().any(|import| import.starts_with("wasi:random/")),
        })
    }
}

/// Reads a component's file, up to `max_bytes`.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read_component(path: &Path, max_bytes: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > max_bytes {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes, max_bytes });
    }
    std::fs::read(path).map_err(unreadable)
}

/// Compiles a component from its binary form; text is not taken.
///
/// # Errors
/// It is not one.
pub fn compile(
    engine: &wasmtime::Engine,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    let not_a_component =
        |reason: String| LoadError::NotAComponent { path: path.to_owned(), reason };
    if !wasmtime_is_component(bytes) {
        let reason = "the file does not begin as one (a core module is made one with \
                      `wit-component`; `cargo xtask` does that for the plugins here)";
        return Err(not_a_component(reason.to_owned()));
    }
    Component::from_binary(engine, bytes).map_err(|error| not_a_component(format!("{error:#}")))
}

/// The eight bytes that every component begins with: magic, version 13, layer 1.
fn wasmtime_is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

/// The names of what a component imports, with their versions.
#[must_use]
pub fn import_names(engine: &wasmtime::Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Checks that `component` exports `needed`, whatever else it exports.
///
/// # Errors
/// It does not; the error names what it does export.
pub fn check_export(
    engine: &wasmtime::Engine,
    path: &Path,
    component: &Component,
    needed: &'static str,
) -> Result<(), LoadError> {
    let world = component.component_type();
    let exports: Vec<_> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    if exports.iter().any(|export| interface(export) == needed) {
        return Ok(());
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(LoadError::WrongWorld { path: path.to_owned(), exports, needed })
}

fn check_imports(path: &Path, imports: &[String], grants: &Grants) -> Result<(), LoadError> {
    let problem = |import: &String| {
        if TYPES.contains(&interface(import)) || import.starts_with("wasi:") {
            return None;
        }
        match granted_by(import) {
            Some(grant) if grants.contains(grant) => None,
            Some(grant) => Some(format!(
                "it imports {import}, which is not granted: add \"{}\" to its grants to allow it",
                grant.interface()
            )),
            None => Some(format!("it imports {import}, which this host does not offer")),
        }
    };
    let problems: Vec<_> = imports.iter().filter_map(problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(LoadError::Imports { path: path.to_owned(), problems })
}

fn granted_by(import: &str) -> Option<Grant> {
    interface(import).parse().ok()
}

/// An interface's name without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_that_is_not_granted_is_named() {
        let grants = Grants::parse(&["weir:embedding/embedder".to_owned()]).unwrap_or_default();
        let imports = [
            "weir:pipeline/types@0.1.0",
            "weir:embedding/embedder@0.1.0",
            "weir:documents/writer@0.1.0",
            "weir:teleport/beam@0.1.0",
            "wasi:clocks/wall-clock@0.2.6",
        ]
        .map(ToOwned::to_owned);
        let error = check_imports(Path::new("x.wasm"), &imports, &grants).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("weir:documents/writer@0.1.0, which is not granted"), "{message}");
        assert!(message.contains("weir:teleport/beam@0.1.0, which this host does not offer"));
        assert!(!message.contains("embedder@"), "{message}");
    }
}
