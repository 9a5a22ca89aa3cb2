//! The system store: what belongs to the server rather than to a tenant.
//!
//! It keeps which plugins were uploaded, what is deployed and was deployed before, the revision
//! of that, the tokens of administrators, and the audit log. Out of scope: the files of plugins
//! ([`PluginFiles`](crate::plugins::PluginFiles)), and what a deployment's text means.

use async_trait::async_trait;
use thiserror::Error;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use crate::TruthError;

mod audit;
mod deployment;
mod plugin;
mod token;

pub use audit::{
    AuditEntry, AuditPage, AuditRecord, KEPT_AUDIT, MAX_AUDIT_PAGE, MAX_AUDIT_TEXT_BYTES,
};
pub use deployment::{
    Deployment, Expected, HistoryEntry, KEPT_HISTORY, MAX_DEPLOYMENTS, MAX_SPEC_BYTES,
};
pub use plugin::{MAX_PLUGINS, MAX_VERSION_BYTES, Role, UploadedPlugin};
pub use token::{
    MAX_TOKEN_TENANTS, MAX_TOKENS, Token, TokenError, TokenId, TokenIdError, TokenScope,
    TokenScopeError,
};

pub(crate) use audit::cut;

/// The server's own records.
///
/// There is one counter of revisions for the whole server. Each deployment and each removal of
/// one takes the next, so a revision names one state of everything that is deployed, and revisions
/// only grow, also across restarts.
///
/// A write that has begun ends, whether or not its caller waits. One that fails has changed
/// nothing.
#[async_trait]
pub trait SystemStore: Send + Sync {
    /// Records an upload. If its digest is recorded already, the first record stays. Returns
    /// whether it is new.
    ///
    /// # Errors
    /// There are [`MAX_PLUGINS`], or its version is too long.
    async fn add_plugin(&self, plugin: UploadedPlugin) -> Result<bool, SystemError>;

    /// The plugin with this digest.
    async fn plugin(&self, digest: PluginDigest) -> Result<Option<UploadedPlugin>, TruthError>;

    /// All plugins, the newest upload first.
    async fn plugins(&self) -> Result<Vec<UploadedPlugin>, TruthError>;

    /// Removes the record of a plugin. Returns whether there was one. Whether a deployment or its
    /// history refers to the plugin is for the caller to know.
    async fn remove_plugin(&self, digest: PluginDigest) -> Result<bool, TruthError>;

    /// Deploys `spec` as `name` if what is deployed as that is what the caller expects, and
    /// returns the revision. Also the same spec again is a deployment.
    ///
    /// # Errors
    /// [`SystemError::Conflict`] if something else is deployed. The spec is too large, or there
    /// are [`MAX_DEPLOYMENTS`].
    async fn deploy(
        &self,
        role: Role,
        name: &Name,
        spec: &str,
        expected: Expected,
        by: &str,
    ) -> Result<u64, SystemError>;

    /// Removes the deployment of `name` if it is what the caller expects. Returns the revision,
    /// or `None` if nothing was deployed, as expected. The history stays.
    ///
    /// # Errors
    /// [`SystemError::Conflict`] if something else is deployed, or nothing.
    async fn undeploy(
        &self,
        role: Role,
        name: &Name,
        expected: Expected,
        by: &str,
    ) -> Result<Option<u64>, SystemError>;

    /// What is deployed as `name`.
    async fn deployment(&self, role: Role, name: &Name) -> Result<Option<Deployment>, TruthError>;

    /// What is deployed, by role and name, and the last revision, as one state.
    async fn deployed(&self) -> Result<(Vec<Deployment>, u64), TruthError>;

    /// What was deployed as `name`, the newest first, which is the current one: at most `limit`
    /// entries, of which [`KEPT_HISTORY`] are kept.
    async fn history(
        &self,
        role: Role,
        name: &Name,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, TruthError>;

    /// What a rollback of `name` deploys again: the newest deployment that is kept whose spec is
    /// not the current one. If nothing is deployed now, the last one that was.
    async fn previous(&self, role: Role, name: &Name) -> Result<Option<Deployment>, TruthError>;

    /// Appends a line to the audit log, and returns its id. Ids grow.
    async fn append_audit(&self, record: AuditRecord) -> Result<u64, TruthError>;

    /// Lines of the audit log, the newest first. [`KEPT_AUDIT`] lines are kept.
    async fn audit(&self, page: AuditPage) -> Result<Vec<AuditEntry>, TruthError>;

    /// Records a token, and `audit` with it: both are there, or neither.
    ///
    /// # Errors
    /// There are [`MAX_TOKENS`] that are valid, or it names too many tenants.
    async fn add_token(&self, token: Token, audit: AuditRecord) -> Result<(), TokenError>;

    /// Revokes a token, and records `audit` with it: both are done, or neither. Returns whether it was
    /// valid; if it was not, nothing is recorded.
    async fn revoke_token(&self, id: TokenId, audit: AuditRecord) -> Result<bool, TruthError>;

    /// Records when a token was last used.
    async fn note_use(&self, id: TokenId, unix_ms: u64) -> Result<(), TruthError>;

    /// All tokens, also revoked ones, the newest first.
    async fn tokens(&self) -> Result<Vec<Token>, TruthError>;

    /// Closes the store. Later calls fail.
    async fn close(&self);
}

/// Why the system store refuses something.
#[derive(Debug, Error)]
pub enum SystemError {
    /// What is deployed is not what the caller expects.
    #[error("{}", conflict(*.current))]
    Conflict {
        /// The revision of what is deployed, if anything is.
        current: Option<u64>,
    },
    /// A text is longer than it may be.
    #[error("{what} has {bytes} bytes, and at most {limit} are allowed")]
    TooLong {
        /// What is too long, in words.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The largest length.
        limit: usize,
    },
    /// There are as many plugins as can be.
    #[error("there are already {limit} plugins, and no more are allowed: remove some first")]
    TooManyPlugins {
        /// The most plugins.
        limit: u32,
    },
    /// There are as many deployments as can be.
    #[error("there are already {limit} deployments, and no more are allowed: remove some first")]
    TooManyDeployments {
        /// The most deployments.
        limit: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TruthError),
}

/// Refuses a text that is too long.
pub(crate) fn check_length(
    what: &'static str,
    text: &str,
    limit: usize,
) -> Result<(), SystemError> {
    let bytes = text.len();
    if bytes > limit { Err(SystemError::TooLong { what, bytes, limit }) } else { Ok(()) }
}

fn conflict(current: Option<u64>) -> String {
    current.map_or_else(
        || "nothing is deployed under this name".to_owned(),
        |revision| format!("what is deployed under this name has revision {revision}"),
    )
}
