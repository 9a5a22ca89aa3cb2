//! The system store: what belongs to the server and to no tenant.
//!
//! Today it keeps the revision of the deployments. Uploaded plugins, tokens and the audit log
//! will be kept here too.

use async_trait::async_trait;

use crate::TruthError;

/// The server's own records.
#[async_trait]
pub trait SystemStore: Send + Sync {
    /// The revision of the deployments that `fingerprint` stands for: the last one given out
    /// if they have not changed since, otherwise the next. Revisions only grow, also across
    /// restarts.
    async fn revision_of(&self, fingerprint: [u8; 32]) -> Result<u64, TruthError>;

    /// Closes the store. Later calls fail.
    async fn close(&self);
}
