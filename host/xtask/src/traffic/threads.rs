//! Clients that have a thread each, with a runtime of its own, so that none waits for another's work.

use std::future::Future;
use std::thread;

use anyhow::Result;
use tokio::sync::oneshot;

/// Runs a future on a thread with a runtime of its own. Its sockets are closed when it has ended.
pub(crate) fn on_own_thread<T, F>(
    name: &str,
    future: impl FnOnce() -> F + Send + 'static,
) -> Result<oneshot::Receiver<Result<T>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = runtime.block_on(future());
        drop(runtime);
        // Nobody waits for it if the experiment has failed.
        let _ = sender.send(result);
    })?;
    Ok(receiver)
}
