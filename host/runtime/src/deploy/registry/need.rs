//! What a stored plugin is needed for. Out of scope: finding that out (`unused`).

use weir_core::name::Name;
use weir_store::system::Role;

/// What a plugin is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The role of the name.
    pub role: Role,
    /// The name.
    pub name: Name,
    /// What for.
    pub reason: Reason,
}

/// Why a name needs a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is deployed.
    Deployed,
    /// It is tried on some requests.
    Candidate,
    /// A rollback would deploy it again.
    Rollback,
    /// The configuration would.
    Configuration,
}

impl Reason {
    /// A short stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Candidate => "candidate",
            Self::Rollback => "rollback",
            Self::Configuration => "configuration",
        }
    }
}
