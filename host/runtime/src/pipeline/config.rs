//! `[pipelines.NAME]`: a pipeline.

use std::path::PathBuf;

use serde::Deserialize;
use weir_core::name::Name;

use super::cors::Cors;
use crate::capability::grants::Grants;
use crate::engine::size::Size;
use crate::settings::Settings;
use crate::wishes::Allowed;

/// `[pipelines.NAME]`: a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The component's file.
    pub component: PathBuf,
    /// Its cache policy. Without one, its answers are never cached.
    pub policy: Option<Name>,
    /// What it may access. The grants also limit whatever is deployed under its name later.
    #[serde(default)]
    pub grants: Grants,
    /// The deadline of its whole run. The default is `engine.deadline_ms`.
    pub deadline_ms: Option<u64>,
    /// The size of its guests.
    #[serde(default)]
    pub size: Size,
    /// The memory of one request. The default is that of its size: `engine.max_memory_bytes` or
    /// `engine.large.max_memory_bytes`.
    pub max_memory_bytes: Option<usize>,
    /// Whether its answers may be documents that a browser runs: HTML, XML, SVG and scripts.
    #[serde(default)]
    pub active_content: bool,
    /// Whether its answers may redirect.
    #[serde(default)]
    pub redirects: bool,
    /// Its weight where pipelines of a tenant share something: time, slots, memory.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether it answers only at one position. Otherwise, an answer from several collections can
    /// state a position for each of them while one lags.
    #[serde(default)]
    pub consistent: bool,
    /// What its clients may ask of the cache by `Cache-Control`. Other directives are ignored.
    #[serde(default)]
    pub client_cache_control: Allowed,
    /// Which web pages may call it. Without it, none of another origin.
    pub cors: Option<Cors>,
    /// The values that its `settings` import returns.
    #[serde(default)]
    pub settings: Settings,
}

impl Default for Pipeline {
    /// No component, and allowed nothing.
    fn default() -> Self {
        Self {
            component: PathBuf::new(),
            policy: None,
            grants: Grants::default(),
            deadline_ms: None,
            size: Size::default(),
            max_memory_bytes: None,
            active_content: false,
            redirects: false,
            weight: one(),
            consistent: false,
            client_cache_control: Allowed::new(),
            cors: None,
            settings: Settings::default(),
        }
    }
}

fn one() -> u32 {
    1
}
