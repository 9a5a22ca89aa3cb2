//! What a pipeline gets when it is deployed: what its manifest asks for, within what the operator allows.
//!
//! `[pipelines.NAME]` is the limit for whatever is deployed under that name. The manifest can only narrow
//! it: what it does not ask for is not given, and what it asks for beyond the limit is refused, with
//! the line that would allow it. Out of scope: whether the component imports what it asks for, which
//! loading checks.

use thiserror::Error;
use weir_core::name::Name;

use super::manifest::{Limits, Manifest, Role};
use super::settings::complete;
use crate::capability::grants::Grants;
use crate::engine::config::Engine;
use crate::engine::size::Size;
use crate::pipeline::config::Pipeline;
use crate::settings::Settings;

/// What a pipeline gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What it may access.
    pub grants: Grants,
    /// The deadline of its whole run.
    pub deadline_ms: u64,
    /// The memory of one request.
    pub max_memory_bytes: usize,
    /// The size of its guests.
    pub size: Size,
    /// All settings that its manifest declares.
    pub settings: Settings,
}

/// A plugin cannot be deployed under a name: everything that stands against it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{plugin} cannot be deployed as '{pipeline}':\n  {}", faults.join("\n  "))]
pub struct ResolveError {
    /// The plugin's name and version.
    pub plugin: String,
    /// The name of the pipeline.
    pub pipeline: Name,
    /// One line for each fault, with what allows it.
    pub faults: Vec<String>,
}

/// What the plugin of `manifest` gets if it is deployed as the pipeline `name` with these settings.
/// `operator` is `[pipelines.NAME]`, and `engine` has the limits that it does not set.
///
/// # Errors
/// The plugin is not a pipeline, it asks for more than the operator allows, or the settings do not fit it.
pub fn resolve(
    manifest: &Manifest,
    name: &Name,
    operator: &Pipeline,
    engine: &Engine,
    settings: &Settings,
) -> Result<Resolved, ResolveError> {
    let mut faults = Vec::new();
    if manifest.role != Role::Pipeline {
        faults.push("role: it is a policy: deploy it as one".to_owned());
    }
    for exceeding in manifest.grants.exceeding(&operator.grants) {
        let of = exceeding.what.map(|what| format!(" with {what}")).unwrap_or_default();
        faults.push(format!(
            "{}: it asks for this grant{of}, which is not allowed: write `{}` in \
             [pipelines.{name}] to allow it",
            exceeding.key, exceeding.line
        ));
    }
    let allowed = Bounds { name, operator, engine };
    let Limits { deadline_ms, max_memory_bytes, size } = manifest.limits;
    let size = allowed.size(size, &mut faults);
    let deadline_ms = allowed.deadline_ms(deadline_ms, &mut faults);
    let max_memory_bytes = allowed.max_memory_bytes(size, max_memory_bytes, &mut faults);
    match complete(&manifest.settings, settings) {
        Ok(settings) if faults.is_empty() => {
            let grants = manifest.grants.clone();
            return Ok(Resolved { grants, deadline_ms, max_memory_bytes, size, settings });
        }
        Ok(_) => {}
        Err(error) => faults.extend(error.faults),
    }
    let plugin = format!("{} {}", manifest.name, manifest.version);
    Err(ResolveError { plugin, pipeline: name.clone(), faults })
}

impl Resolved {
    /// What to load: `operator` with what this narrows.
    #[must_use]
    pub fn narrowed(self, operator: &Pipeline) -> Pipeline {
        let Self { grants, deadline_ms, max_memory_bytes, size, settings } = self;
        Pipeline {
            grants,
            deadline_ms: Some(deadline_ms),
            max_memory_bytes: Some(max_memory_bytes),
            size,
            settings,
            ..operator.clone()
        }
    }
}

/// The operator's limits for a pipeline.
struct Bounds<'a> {
    name: &'a Name,
    operator: &'a Pipeline,
    engine: &'a Engine,
}

impl Bounds<'_> {
    fn size(&self, asked: Option<Size>, faults: &mut Vec<String>) -> Size {
        let size = asked.unwrap_or(self.operator.size);
        if size == Size::Large && self.operator.size == Size::Small {
            let name = self.name;
            let slots = match self.engine.large.max_concurrent_guests {
                0 => ", and engine.large.max_concurrent_guests to at least 1,",
                _ => "",
            };
            faults.push(format!(
                "limits.size: it asks for large guests, and has small ones: set \
                 `size = \"large\"` in [pipelines.{name}]{slots} to allow it"
            ));
        }
        size
    }

    fn deadline_ms(&self, asked: Option<u64>, faults: &mut Vec<String>) -> u64 {
        let most = self.operator.deadline_ms.unwrap_or(self.engine.deadline_ms);
        let deadline_ms = asked.unwrap_or(most);
        if deadline_ms > most {
            let name = self.name;
            faults.push(format!(
                "limits.deadline_ms: it asks for {deadline_ms}, and has {most}: set \
                 `deadline_ms = {deadline_ms}` in [pipelines.{name}] to allow it"
            ));
        }
        deadline_ms
    }

    fn max_memory_bytes(
        &self,
        size: Size,
        asked: Option<usize>,
        faults: &mut Vec<String>,
    ) -> usize {
        let Self { name, operator, engine } = self;
        let of_size = engine.max_memory_bytes_of(size);
        // Without a limit of its own, a pipeline has the memory of its size. Large guests that become
        // small have no more than either. Small ones that become large are refused for that.
        let own = operator.max_memory_bytes.unwrap_or(match size {
            Size::Small => engine.max_memory_bytes_of(operator.size),
            Size::Large => of_size,
        });
        let most = own.min(of_size);
        let bytes = asked.unwrap_or(most);
        if bytes > most {
            let engines = match size {
                Size::Small => "engine.max_memory_bytes",
                Size::Large => "engine.large.max_memory_bytes",
            };
            let engines = match bytes > of_size {
                true => format!(", and {engines} to as much,"),
                false => String::new(),
            };
            faults.push(format!(
                "limits.max_memory_bytes: it asks for {bytes}, and has {most}: set \
                 `max_memory_bytes = {bytes}` in [pipelines.{name}]{engines} to allow it"
            ));
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
