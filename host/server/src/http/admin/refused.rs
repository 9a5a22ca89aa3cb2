//! Why nothing was stored or deployed, as a problem.

use weir_runtime::deploy::registry::RegistryError;
use weir_runtime::engine::compile::CompileError;
use weir_runtime::trial::TrialError;
use weir_store::plugins::PluginFileError;
use weir_store::system::SystemError;

use crate::http::json::sentence;
use crate::http::problem::{Code, Problem, codes};

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = sentence(&error.to_string());
        match code(&error) {
            Some(code) => Self::new(code, detail),
            None => match error {
                RegistryError::System(SystemError::Store(error)) => error.into(),
                RegistryError::NotInService { .. } => Self::new(codes::INTERNAL, detail),
                _ => Self::internal(detail),
            },
        }
    }
}

/// `None` if the server failed.
fn code(error: &RegistryError) -> Option<&'static Code> {
    Some(match error {
        RegistryError::UnknownPlugin(_) | RegistryError::Files(PluginFileError::Missing(_)) => {
            codes::UNKNOWN_PLUGIN
        }
        RegistryError::UnknownPolicy(_) | RegistryError::NotDeployed { .. } => {
            codes::UNKNOWN_DEPLOYMENT
        }
        RegistryError::Configured { .. }
        | RegistryError::PolicyInUse { .. }
        | RegistryError::PluginInUse { .. }
        | RegistryError::InShadow(_)
        | RegistryError::TooManyShadows(_)
        | RegistryError::InTrial(_) => codes::IN_USE,
        RegistryError::NoShadow(_) => codes::UNKNOWN_SHADOW,
        RegistryError::Weight(_) => codes::NOT_ALLOWED,
        RegistryError::NothingBefore { .. } => codes::NOTHING_BEFORE,
        RegistryError::NoManifest | RegistryError::Load(_) | RegistryError::Policy(_) => {
            codes::INVALID_PLUGIN
        }
        RegistryError::Samples(_) => codes::SAMPLE_FAILED,
        RegistryError::Compile(CompileError::Busy { .. })
        | RegistryError::Trial(TrialError::Busy) => codes::OVERLOADED,
        RegistryError::Compile(CompileError::Failed { .. }) => return None,
        RegistryError::Compile(_) => codes::INVALID_PLUGIN,
        RegistryError::OtherRole { .. }
        | RegistryError::PolicyOfPolicy
        | RegistryError::Refused(_) => codes::NOT_ALLOWED,
        RegistryError::System(SystemError::Conflict { .. }) => codes::REVISION_CHANGED,
        RegistryError::System(
            SystemError::TooLong { .. }
            | SystemError::TooManyPlugins { .. }
            | SystemError::TooManyDeployments { .. },
        ) => codes::NOT_ALLOWED,
        RegistryError::System(SystemError::Store(_))
        | RegistryError::Files(_)
        | RegistryError::Trial(_)
        | RegistryError::NotInService { .. }
        | RegistryError::Failed(_) => return None,
    })
}
