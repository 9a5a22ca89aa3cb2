//! The system store: what belongs to the server rather than to a tenant.
//!
//! It keeps the revision of the deployments.

use async_trait::async_trait;

use crate::TruthError;

/// The server's own records.
#[async_trait]
pub trait SystemStore: Send + Sync {
    /// The revision of the deployments identified by `fingerprint`: the last revision if they
    /// have not changed since, otherwise the next one. Revisions only grow, also across
    /// restarts.
    async fn revision_of(&self, fingerprint: [u8; 32]) -> Result<u64, TruthError>;

    /// Closes the store. Later calls fail.
    async fn close(&self);
}
