//! Runs a host call in a separate task on the host's threads, with its own permit and the
//! request's deadline. The guest awaits only the task's handle, because host futures are not
//! polled while a guest's fiber runs (wasmtime #11869): no lock, permit or pooled connection may
//! depend on the guest's progress.
//!
//! Work that does not have to wait, such as reading a cached vector, completes on the guest's
//! thread: two switches of threads would cost more than the work.

use std::future::{self, Future};
use std::sync::Arc;
use std::task::Poll;

use metrics::counter;
use thiserror::Error;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use super::call::Call;

/// Why a host call did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostCallError {
    /// The request has too many host calls open, or has used up its bytes.
    #[error("the request has too many host calls open, or has used up its bytes")]
    QuotaExceeded,
    /// The request's deadline has passed.
    #[error("the deadline has passed")]
    TimedOut,
    /// The host panicked. Only this call fails, not the process.
    #[error("the host failed")]
    Panicked,
}

/// Runs `work`, on the guest's thread until it first waits and then on the host's threads. Dropping
/// the future cancels the work, so work that must not be interrupted spawns a task. When a guest has
/// answered, its store is dropped, and with it the host calls that it has not awaited.
///
/// The call is charged for before it waits, and so must be what it is passed.
///
/// # Errors
/// Too many calls are open, the deadline passed while `work` waited, or `work` panicked after it had first waited.
///
/// # Panics
/// `work` panicked before it first waited.
pub async fn run<T: Send + 'static>(
    call: &Arc<Call>,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, HostCallError> {
    counter!("weir_host_calls_total", "call" => name).increment(1);
    let _open = call.open_host_call().ok_or(HostCallError::QuotaExceeded)?;
    let permits = Arc::clone(&call.host_calls);
    let mut permitted = Box::pin(async move {
        // The semaphore is never closed. If it were, work without a permit would be unbounded.
        let _permit = permits.acquire_owned().await.ok()?;
        Some(work.await)
    });
    let io = &call.io;
    // Within the host's runtime, so that tasks that the work spawns do not run on guest threads.
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
