//! Plugins that were uploaded, as the system store records them.
//!
//! Out of scope: their files, and what their manifests say beyond this.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

/// The most plugins that are recorded.
pub const MAX_PLUGINS: u32 = 10_000;

/// The longest version. Manifests allow 64 characters.
pub const MAX_VERSION_BYTES: usize = 256;

/// What a plugin is for, and what is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers requests.
    Pipeline,
    /// Decides what is cached.
    Policy,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is 'pipeline' or 'policy'")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "pipeline" => Ok(Self::Pipeline),
            "policy" => Ok(Self::Policy),
            _ => Err(RoleError),
        }
    }
}

/// A plugin that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPlugin {
    /// Which one: the name of its file.
    pub digest: PluginDigest,
    /// The name in its manifest.
    pub name: Name,
    /// The version in its manifest, for people. At most [`MAX_VERSION_BYTES`].
    pub version: String,
    /// What it is for.
    pub role: Role,
    /// The size of its file.
    pub bytes: u64,
    /// When it was uploaded, in milliseconds since 1970.
    pub uploaded_unix_ms: u64,
    /// Who has uploaded it, as the audit log calls them.
    pub uploaded_by: String,
}
