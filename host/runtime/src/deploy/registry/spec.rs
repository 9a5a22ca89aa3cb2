//! What a name is deployed with, as the system store keeps it.

use serde::{Deserialize, Serialize};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use super::error::RegistryError;
use crate::settings::Settings;

/// What a name is deployed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The plugin.
    pub digest: PluginDigest,
    /// The cache policy of a pipeline. Without one, its answers are never cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
    /// The settings that differ from the manifest's defaults.
    #[serde(default)]
    pub settings: Settings,
    /// Where it comes from.
    #[serde(default)]
    pub source: Source,
    /// A digest of what the configuration allowed it, if it comes from there: another revision, if that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl Spec {
    /// Reads what the system store has kept.
    ///
    /// # Errors
    /// It is from another release.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        serde_json::from_str(text).map_err(|error| {
            RegistryError::Failed(format!(
                "what is recorded cannot be read, perhaps because it is from a newer Weir: {error}"
            ))
        })
    }

    /// As the system store keeps it.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Who has said that it is to be deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An administrator.
    #[default]
    Admin,
    /// The configuration of the server.
    Configuration,
}
