//! Whether the server takes on work, and what it must not leave unfinished.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::task::TaskTracker;

/// Whether a server takes on work, and what it must not leave unfinished.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
    /// Work that no client's disconnect may cut: transactions, fills, invalidations. A drain
    /// waits for it.
    pub detached: TaskTracker,
}

impl Lifecycle {
    /// Whether the server is ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The server is ending: readiness says so from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.detached.close();
    }
}
