//! How a host call leaves its guest: in a task of its own on the host's threads, with its
//! own permit and the request's deadline. The guest awaits the task's handle and nothing
//! else, because host futures are not polled while a guest's fiber runs (wasmtime #11869):
//! no lock, permit or pooled connection may depend on the guest's progress.
//!
//! Work that needs no waiting, such as a vector that is cached, is done where the guest is:
//! two changes of threads would cost more than it does.

use std::future::{self, Future};
use std::sync::Arc;
use std::task::Poll;

use metrics::counter;
use thiserror::Error;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use super::call::Call;

/// Why a host call has no outcome of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostCallError {
    /// The request's deadline has passed.
    #[error("the deadline has passed")]
    TimedOut,
    /// The host panicked; one request ends, not the process.
    #[error("the host failed")]
    Panicked,
}

/// Runs `work` beside the guest. When the guest is gone, so is the work: what must not be cut
/// detaches itself.
///
/// # Errors
/// The deadline has passed, or `work` panicked.
pub async fn run<T: Send + 'static>(
    call: &Arc<Call>,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, HostCallError> {
    counter!("weir_host_calls_total", "call" => name).increment(1);
    let permits = Arc::clone(&call.host_calls);
    let mut permitted = Box::pin(async move {
        // The semaphore is never closed; without a permit the work would be unbounded.
        let _permit = permits.acquire_owned().await.ok()?;
        Some(work.await)
    });
    let io = &call.io;
    // In the host's runtime: what the work spawns detached stays off the guests' threads.
    let at_once = future::poll_fn(|context| {
        let _entered = io.enter();
        Poll::Ready(permitted.as_mut().poll(context))
    });
    let outcome = match at_once.await {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            let task = io.spawn(timeout_at(call.deadline.into(), permitted));
            match AbortOnDropHandle::new(task).await {
                Ok(outcome) => outcome.map_err(|_elapsed| HostCallError::TimedOut)?,
                Err(_) => return Err(HostCallError::Panicked),
            }
        }
    };
    outcome.ok_or(HostCallError::TimedOut)
}
