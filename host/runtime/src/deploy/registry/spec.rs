//! What a name is deployed with, as the system store keeps it.

use serde::{Deserialize, Serialize};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use super::error::RegistryError;
use crate::deploy::split::SplitBy;
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
    /// What answers a part of the requests instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Where it comes from.
    #[serde(default)]
    pub source: Source,
    /// A digest of what the configuration allowed it, if it comes from there: another revision, if that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// A version that is tried on a part of the requests to a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The plugin.
    pub digest: PluginDigest,
    /// The settings that differ from the manifest's defaults.
    #[serde(default)]
    pub settings: Settings,
    /// The cache policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
    /// The part of the requests that it answers, in percent: 1 to 99.
    pub weight_percent: u8,
    /// What requests are divided by.
    #[serde(default)]
    pub split_by: SplitBy,
    /// Whether it is rolled back by itself if it is worse.
    pub roll_back: bool,
    /// The revision of what answers the others.
    pub base_revision: u64,
}

impl Candidate {
    /// What the candidate is deployed with.
    #[must_use]
    pub fn spec(&self) -> Spec {
        Spec {
            digest: self.digest,
            policy: self.policy.clone(),
            settings: self.settings.clone(),
            candidate: None,
            source: Source::Admin,
            allowed: None,
        }
    }
}

impl Spec {
    /// Whether a request gets the same answer with both, candidates apart.
    #[must_use]
    pub fn answers_like(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.policy == other.policy
            && self.settings == other.settings
    }

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
