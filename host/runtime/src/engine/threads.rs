//! The threads that guests run on. A guest that computes holds its thread for up to one
//! epoch; hits, host calls and connections are elsewhere, so that it delays none of them.
//!
//! A slot is the right of one guest to run. Slots are counted, and a request that finds none
//! free waits for a bounded time.

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

/// No slot became free in time.
#[derive(Clone, Copy, Debug, Error)]
#[error("all guest slots are busy")]
pub struct NoSlot;

/// The guests' own runtime.
pub struct GuestThreads {
    /// Taken only by `drop`.
    runtime: Option<Runtime>,
    handle: Handle,
    slots: Arc<Semaphore>,
    clock: Clock,
    queue_timeout: Duration,
}

/// The right of one guest to run: counted, and ticked for.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _at_work: AtWork,
}

impl GuestThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives none.
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

    /// Waits for a slot; it is free again when the value is dropped.
    ///
    /// # Errors
    /// None became free within `engine.queue_timeout_ms`.
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

    /// Runs `guest` on one of the threads, detached from the caller.
    pub fn spawn<F>(&self, guest: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(guest)
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which an async context must not; guests
        // are interrupted at their next epoch.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
