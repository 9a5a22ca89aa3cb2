//! The threads that guests run on. A guest that computes occupies its thread for up to one
//! epoch. Connections, host calls that wait, and hits whose policy has no `keying` use other
//! threads, so a guest does not delay them.
//!
//! A slot allows one guest to run. The number of slots is limited, and a request waits a bounded
//! time for one.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::config;
use super::epoch::{AtWork, Clock};

/// No guest slot became free in time.
#[derive(Clone, Copy, Debug, Error)]
#[error("all guest slots are busy")]
pub struct NoSlot;

/// The runtime that guests run on, and the guest slots.
pub struct GuestThreads {
    /// Taken only by `drop`.
    runtime: Option<Runtime>,
    handle: Handle,
    slots: Arc<Semaphore>,
    clock: Clock,
    queue_timeout: Duration,
}

/// A guest slot. The epoch advances while it is held.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _at_work: AtWork,
}

impl GuestThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system refuses to start them.
    pub fn start(limits: &config::Engine, clock: Clock) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        if limits.guest_threads > 0 {
            builder.worker_threads(limits.guest_threads);
        }
        let runtime = builder.thread_name("weir-guest").enable_time().build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            slots: Arc::new(Semaphore::new(limits.max_concurrent_guests)),
            clock,
            queue_timeout: Duration::from_millis(limits.queue_timeout_ms),
        })
    }

    /// Waits for a slot, which is free again when the returned value is dropped.
    ///
    /// # Errors
    /// No slot became free within `engine.queue_timeout_ms`.
    pub async fn slot(&self) -> Result<Slot, NoSlot> {
        let permit = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => timeout(self.queue_timeout, Arc::clone(&self.slots).acquire_owned())
                .await
                .map_err(|_| NoSlot)?
                .map_err(|_| NoSlot)?,
        };
        Ok(Slot { _permit: permit, _at_work: self.clock.begin() })
    }

    /// Runs `guest` on the guest threads, detached from the caller.
    pub fn spawn<F>(&self, guest: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(guest)
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which must not happen in an async context.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
