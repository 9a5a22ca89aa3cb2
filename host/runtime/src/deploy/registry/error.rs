//! Why something is not stored or not deployed.

use thiserror::Error;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::TruthError;
use weir_store::plugins::PluginFileError;
use weir_store::system::{Role, SystemError};

use super::need::Need;
use crate::engine::compile::CompileError;
use crate::engine::component::LoadError;
use crate::policy::PolicyError;
use crate::trial::TrialError;
use crate::trial::samples::SamplesError;

/// Why something is not stored or not deployed.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// There is no such plugin.
    #[error("no plugin with the digest {0} is stored: upload it first")]
    UnknownPlugin(PluginDigest),
    /// It is of the other role.
    #[error("the plugin is a {is}, and cannot be deployed as a {wanted}")]
    OtherRole {
        /// What it is.
        is: Role,
        /// What it was to be.
        wanted: Role,
    },
    /// There is no such policy.
    #[error("no policy '{0}' is deployed: deploy it first")]
    UnknownPolicy(Name),
    /// Nothing is deployed under the name.
    #[error("no {role} '{name}' is deployed")]
    NotDeployed {
        /// Its role.
        role: Role,
        /// Its name.
        name: Name,
    },
    /// The configuration deploys it.
    #[error("the {role} '{name}' is in weir.toml, so remove it there and restart the server")]
    Configured {
        /// Its role.
        role: Role,
        /// Its name.
        name: Name,
    },
    /// Pipelines are deployed with the policy.
    #[error(
        "the policy '{policy}' decides for the pipeline '{pipeline}': deploy that with another one first"
    )]
    PolicyInUse {
        /// The policy.
        policy: Name,
        /// One of the pipelines.
        pipeline: Name,
    },
    /// Something needs the plugin.
    #[error(
        "the plugin {digest} is needed by the {} '{}' ({})", need.role, need.name, need.reason.as_str()
    )]
    PluginInUse {
        /// The plugin.
        digest: PluginDigest,
        /// What it is needed for.
        need: Need,
    },
    /// A candidate is tried under the policy.
    #[error(
        "a candidate is tried beside the pipeline '{0}' under this policy: deploy it for all requests, or roll it \
         back, first"
    )]
    InTrial(Name),
    /// A candidate for the policy is tried in shadow already.
    #[error("another candidate for the policy '{0}' is being tried in shadow: end that first")]
    InShadow(Name),
    /// As many candidates are tried in shadow as may be.
    #[error(
        "{0} policies are being tried in shadow, which is the most at once: end one of them first"
    )]
    TooManyShadows(usize),
    /// No candidate for the policy is tried in shadow.
    #[error("no candidate for the policy '{0}' is tried in shadow, or a restart has ended it")]
    NoShadow(Name),
    /// The weight of a candidate is none.
    #[error("a candidate has a weight of 1 to 99 percent, not {0}")]
    Weight(u8),
    /// Policies have no policy.
    #[error("a policy has no policy of its own")]
    PolicyOfPolicy,
    /// There is nothing to go back to.
    #[error("nothing else was deployed as the {role} '{name}' before")]
    NothingBefore {
        /// Its role.
        role: Role,
        /// Its name.
        name: Name,
    },
    /// The component has no manifest.
    #[error(
        "the component carries no plugin.toml: `weir plugin push` adds it, from the file next to the component or \
         from --manifest"
    )]
    NoManifest,
    /// The manifest or the settings are wrong, or what is asked for is not allowed. The text has one line for
    /// each fault.
    #[error("{0}")]
    Refused(String),
    /// The component cannot be compiled, or may not take what that takes.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The component cannot be loaded as a pipeline.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component cannot be loaded as a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The plugin cannot handle the samples of its manifest.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// The plugin could not be tried.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// The system store refuses it, or failed.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The files of plugins cannot be read or written.
    #[error(transparent)]
    Files(#[from] PluginFileError),
    /// It is recorded, but not in service.
    #[error(
        "revision {revision} is recorded, but could not be put in service, which the next deployment or start \
         does: {error}"
    )]
    NotInService {
        /// The revision.
        revision: u64,
        /// What failed.
        error: TruthError,
    },
    /// The host failed.
    #[error("{0}")]
    Failed(String),
}

impl RegistryError {
    pub(super) fn refused(error: impl ToString) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<TruthError> for RegistryError {
    fn from(error: TruthError) -> Self {
        Self::System(error.into())
    }
}
