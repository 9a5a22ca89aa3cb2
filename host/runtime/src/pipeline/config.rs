//! `[pipelines.NAME]`: a pipeline.

use std::path::PathBuf;

use serde::Deserialize;
use weir_core::name::Name;

use crate::capability::grants::Grants;
use crate::settings::Settings;

/// `[pipelines.NAME]`: a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The component's file.
    pub component: PathBuf,
    /// Its cache policy; without one its answers are never cached.
    pub policy: Option<Name>,
    /// What it may reach, and the most that whatever is deployed under its name later may.
    #[serde(default)]
    pub grants: Grants,
    /// For its whole run; `engine.deadline_ms` where it is not set.
    pub deadline_ms: Option<u64>,
    /// For one request; `engine.max_memory_bytes` where it is not set.
    pub max_memory_bytes: Option<usize>,
    /// What its `settings` import answers.
    #[serde(default)]
    pub settings: Settings,
}
