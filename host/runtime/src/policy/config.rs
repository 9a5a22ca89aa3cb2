//! `[policies.NAME]`: a cache policy.

use std::path::PathBuf;

use serde::Deserialize;

use crate::settings::Settings;

/// `[policies.NAME]`: a cache policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The component's file.
    pub component: PathBuf,
    /// The settings that its `plan` receives.
    #[serde(default)]
    pub settings: Settings,
}
