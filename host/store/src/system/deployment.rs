//! What is deployed, and what a caller expects to be deployed when it changes that.
//!
//! Out of scope: what a spec means, and how it is put into service.

use weir_core::name::Name;

use super::{Role, SystemError};

/// The longest spec.
pub const MAX_SPEC_BYTES: usize = 64 << 10;

/// How many deployments and removals of one name are kept, the current one included.
pub const KEPT_HISTORY: u32 = 100;

/// The most names that something is deployed as. A name that is not deployed any more counts
/// while its history is kept; when there is no room for a new one, the history of the name that was
/// removed first is forgotten.
pub const MAX_DEPLOYMENTS: u32 = 1_000;

/// What is deployed under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Whether it is a pipeline or a policy. Each has its own names.
    pub role: Role,
    /// What it is deployed as.
    pub name: Name,
    /// The revision that deployed it.
    pub revision: u64,
    /// What is deployed: JSON, which the store does not read. At most [`MAX_SPEC_BYTES`].
    pub spec: String,
    /// Who has deployed it.
    pub by: String,
    /// When, in milliseconds since 1970 by the wall clock, which decides nothing.
    pub unix_ms: u64,
}

/// A deployment or a removal that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its revision.
    pub revision: u64,
    /// What was deployed; `None` if it was removed.
    pub spec: Option<String>,
    /// Who has done it.
    pub by: String,
    /// When, in milliseconds since 1970 by the wall clock, which decides nothing.
    pub unix_ms: u64,
}

/// What a caller expects to be deployed under a name, as in HTTP's `If-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing.
    Any,
    /// Nothing.
    Absent,
    /// What was deployed with this revision.
    Revision(u64),
}

impl Expected {
    /// Refuses what is not expected: `current` is the revision of what is deployed.
    pub(crate) fn check(self, current: Option<u64>) -> Result<(), SystemError> {
        let is_expected = match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current == Some(revision),
        };
        if is_expected { Ok(()) } else { Err(SystemError::Conflict { current }) }
    }
}
