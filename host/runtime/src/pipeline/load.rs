//! Loads a component as a pipeline. Problems of the component are found here, not by the first
//! request, and all imports that are refused are reported together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Resource};
use weir_bindings::pipeline::weir::pipeline::types as wit;
use weir_core::name::Name;

use super::answer::Allowed;
use super::config;
use super::counters::Counters;
use crate::capability::grants::{self, Access, Grants};
use crate::capability::guest::{GuestState, is_types, link};
use crate::capability::settings;
use crate::engine::Engines;
use crate::engine::compile::{CodeCache, compile_here};
use crate::engine::component::{
    LoadError, WIT_VERSION, check_export, check_needs, import_names, interface, read_component,
};
use crate::engine::config::Engine;
use crate::engine::kind::Kind;
use crate::engine::size::Size;
use crate::wishes;

/// The interfaces of which a pipeline exports one, without their version: with an `async func`, and
/// the plain variant for guests without component-model async. The host calls both in the same way.
const HANDLERS: [&str; 2] = ["weir:pipeline/handler", "weir:pipeline/plain-handler"];
/// The function of either interface through which a pipeline is called.
const HANDLE: &str = "handle";

/// What a handler is called with.
pub(super) type HandlerParameters = (Resource<wit::Request>,);
/// What a handler returns.
pub(super) type HandlerResults = (Result<wit::Response, wit::Failure>,);

/// A component that is checked, compiled, linked and ready to run.
pub struct Pipeline {
    /// The name that clients call it by.
    pub name: Name,
    /// Hex sha-256 of the component.
    pub digest: String,
    /// Hex sha-256 of the settings.
    pub settings_digest: String,
    /// What it may access.
    pub grants: Grants,
    /// Whether it imports a writer. If so, its answers are never looked up, shared or stored.
    pub writes: bool,
    /// The deadline of its whole run.
    pub deadline: Duration,
    /// Its weight where pipelines of a tenant share something.
    pub weight: u32,
    /// What its clients may ask of the cache.
    pub client_cache_control: wishes::Allowed,
    /// The size of its guests.
    pub size: Size,
    /// Its metrics.
    pub counters: Counters,
    pub(super) pre: InstancePre<GuestState>,
    /// The function through which it is called.
    pub(super) handler: ComponentExportIndex,
    pub(super) settings: Arc<settings::Context>,
    /// Whether it answers only at one position.
    pub(super) consistent: bool,
    pub(super) limits: Limits,
    /// What its answers may do in a browser.
    pub(super) allowed: Allowed,
}

/// What one request may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_memory_bytes: usize,
    pub(super) max_answer_bytes: usize,
    pub(super) max_host_calls: usize,
}

impl Pipeline {
    /// What its answers may do in a browser, for keys.
    #[must_use]
    pub fn allowed_fingerprint(&self) -> &'static str {
        self.allowed.fingerprint()
    }

    /// Loads, compiles, checks and links the component of `[pipelines.NAME]`. Its code is looked up and kept
    /// in `code`, if there is one.
    ///
    /// # Errors
    /// The file or its world is invalid, it imports something that is not granted or offered, or it needs
    /// more than guests of its size have.
    pub fn load(
        engines: &Engines,
        name: Name,
        pipeline: &config::Pipeline,
        defaults: &Engine,
        code: Option<&CodeCache>,
    ) -> Result<Self, LoadError> {
        let (path, size) = (&pipeline.component, pipeline.size);
        let engine = engines.of_pipelines(size).ok_or(LoadError::NoLargeGuests)?;
        let bytes = read_component(path, defaults.max_component_bytes)?;
        let component = compile_here(code, Kind::of_pipelines(size), engine, path, &bytes)
            .map_err(|error| error.with_advice(size))?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Self::of_component(engines, name, pipeline, defaults, &component, digest)
    }

    /// Checks and links a component that is compiled for the engine of the pipeline's size. `digest` is the hex
    /// sha-256 of its bytes; the path of `pipeline` is for errors.
    ///
    /// # Errors
    /// Its world is invalid, it imports something that is not granted or offered, or it needs more than guests
    /// of its size have.
    pub fn of_component(
        engines: &Engines,
        name: Name,
        pipeline: &config::Pipeline,
        defaults: &Engine,
        component: &Component,
        digest: String,
    ) -> Result<Self, LoadError> {
        let (path, size) = (&pipeline.component, pipeline.size);
        let max_memory_bytes =
            pipeline.max_memory_bytes.unwrap_or(defaults.max_memory_bytes_of(size));
        let engine = engines.of_pipelines(size).ok_or(LoadError::NoLargeGuests)?;
        check_needs(path, component, size.shape(), max_memory_bytes)
            .map_err(|error| error.with_advice(size))?;
        let exported = check_export(engine, path, component, &HANDLERS)?;
        let imports = import_names(engine, component);
        check_imports(path, &imports, &pipeline.grants)?;
        let not_a_component = |error: wasmtime::Error| LoadError::NotAComponent {
            path: path.clone(),
            reason: format!("{error:#}"),
        };
        let with_wasi = imports.iter().any(|import| import.starts_with("wasi:"));
        let linker = link(engine, &pipeline.grants, with_wasi).map_err(not_a_component)?;
        let pre = linker.instantiate_pre(component).map_err(not_a_component)?;
        let handler = find_handler(component, &pre, exported).map_err(not_a_component)?;
        let settings = pipeline.settings.pairs();
        let settings_text = serde_json::Value::from_iter(settings.clone()).to_string();
        Ok(Self {
            counters: Counters::new(&name),
            settings_digest: hex::encode(Sha256::digest(settings_text)),
            name,
            digest,
            grants: pipeline.grants.clone(),
            weight: pipeline.weight,
            client_cache_control: pipeline.client_cache_control.clone(),
            size,
            writes: imports.iter().any(|import| grants::writes(interface(import))),
            deadline: Duration::from_millis(pipeline.deadline_ms.unwrap_or(defaults.deadline_ms)),
            pre,
            handler,
            consistent: pipeline.consistent,
            settings: Arc::new(settings::Context { settings: settings.into_iter().collect() }),
            allowed: Allowed {
                active_content: pipeline.active_content,
                redirects: pipeline.redirects,
            },
            limits: Limits {
                max_memory_bytes,
                max_answer_bytes: defaults.max_answer_bytes,
                max_host_calls: defaults.max_concurrent_host_calls,
            },
        })
    }
}

/// The function through which a pipeline is called, if it has the right type.
fn find_handler(
    component: &Component,
    pre: &InstancePre<GuestState>,
    exported: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    let exported = component.get_export_index(None, format!("{exported}@{WIT_VERSION}"));
    match exported.and_then(|exported| component.get_export(Some(&exported), HANDLE)) {
        Some((ComponentItem::ComponentFunc(handler), index)) => {
            handler.typecheck::<HandlerParameters, HandlerResults>(&pre.instance_type())?;
            Ok(index)
        }
        _ => wasmtime::bail!("its handler has no function `{HANDLE}`"),
    }
}

fn check_imports(path: &Path, imports: &[String], grants: &Grants) -> Result<(), LoadError> {
    let problem = |import: &String| {
        if is_types(interface(import)) || import.starts_with("wasi:") {
            return None;
        }
        match grants.access(interface(import)) {
            Access::Granted => None,
            Access::Denied { line } => Some(format!(
                "it imports {import}, which is not granted: add `{line}` to the pipeline to grant it"
            )),
            Access::Unknown => Some(format!("it imports {import}, which this host does not offer")),
        }
    };
    let problems: Vec<_> = imports.iter().filter_map(problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(LoadError::Imports { path: path.to_owned(), problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_that_is_not_granted_is_named() {
        let grants = Grants { embedding: Some(Default::default()), ..Grants::default() };
        let imports = [
            "weir:pipeline/types@0.2.0",
            "weir:embedding/embedder@0.2.0",
            "weir:documents/writer@0.2.0",
            "weir:teleport/beam@0.1.0",
            "wasi:clocks/wall-clock@0.2.6",
        ]
        .map(ToOwned::to_owned);
        let error = check_imports(Path::new("x.wasm"), &imports, &grants).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("weir:documents/writer@0.2.0, which is not granted"), "{message}");
        assert!(message.contains("weir:teleport/beam@0.1.0, which this host does not offer"));
        assert!(!message.contains("embedder@"), "{message}");
    }
}
