//! Why a policy cannot be used, or has failed to decide.

use std::path::PathBuf;

use thiserror::Error;
use weir_core::name::Name;

use super::plan::PlanError;
use crate::engine::component::LoadError;

/// The interface that every policy exports, without its version.
pub(super) const PLANNING: &str = "weir:policy/planning";

/// Why a policy cannot be used or failed to decide.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The component cannot be loaded.
    #[error(transparent)]
    Load(LoadError),
    /// It imports functions. Policies decide only from their arguments.
    #[error("{path} imports {imports}; a policy imports nothing")]
    Imports {
        /// The file.
        path: PathBuf,
        /// All of the imports.
        imports: String,
    },
    /// Its `plan` refused its settings.
    #[error("the policy '{name}' refuses its settings: {reason}")]
    Refused {
        /// The policy.
        name: Name,
        /// The reason that it gives.
        reason: String,
    },
    /// Its plan is invalid.
    #[error("the plan of the policy '{name}' cannot be used: {error}")]
    Plan {
        /// The policy.
        name: Name,
        /// What is wrong.
        error: PlanError,
    },
    /// It cannot be instantiated, or a call trapped, ran out of fuel or memory, or returned an
    /// invalid result.
    #[error("the policy '{name}' failed: {reason}")]
    Failed {
        /// The policy.
        name: Name,
        /// What went wrong.
        reason: String,
    },
}

impl From<LoadError> for PolicyError {
    fn from(error: LoadError) -> Self {
        Self::Load(wrong_world(error))
    }
}

/// Reports a pipeline that is configured as a policy as having the wrong world. Its async
/// functions are a parse error in the policies' engine, and wasmtime has no type for that error.
fn wrong_world(error: LoadError) -> LoadError {
    match error {
        LoadError::NotAComponent { path, reason } if reason.contains("component model async") => {
            let exports = "async functions, as a pipeline does".to_owned();
            LoadError::WrongWorld { path, exports, needed: PLANNING }
        }
        error => error,
    }
}

pub(super) fn failed(name: &Name, error: &wasmtime::Error) -> PolicyError {
    PolicyError::Failed { name: name.clone(), reason: format!("{error:#}") }
}
