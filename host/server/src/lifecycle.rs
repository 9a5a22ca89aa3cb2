//! Whether the server accepts new work, and the work that it must finish before it ends.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Whether a server accepts new work, and the work that it must finish before it ends.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    /// Work that must survive a client's disconnect: transactions, fills, invalidations. A drain
    /// waits for it.
    pub detached: TaskTracker,
}

impl Lifecycle {
    /// Whether the server is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the server is shutting down.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Marks the server as shutting down, which readiness reports from now on.
    pub fn drain(&self) {
        self.draining.cancel();
        self.detached.close();
    }
}
