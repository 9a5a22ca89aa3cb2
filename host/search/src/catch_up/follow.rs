//! Hears commits, and keeps a worker for each collection that lags.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};
use weir_core::Commit;
use weir_core::name::Name;

use super::worker::{Start, work};
use super::{Backoff, CatchUpError, Shared, stop};

/// Runs until it is stopped. The collections in `rebuild` are first read as they were at that
/// commit.
pub(super) async fn run(
    shared: Arc<Shared>,
    rebuild: Option<Commit>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut commits = shared.truth.committed();
    // There may have been commits since the log was heard at the start.
    commits.mark_changed();
    let mut workers = Workers::new(Arc::clone(&shared), rebuild, stopped.clone());
    let mut backoff = Backoff::default();
    let mut retry_at = None;
    loop {
        workers.start_missing();
        tokio::select! {
            biased;
            () = stop(&mut stopped) => break,
            () = workers.ended() => continue,
            () = until(retry_at) => {}
            changed = commits.changed(), if retry_at.is_none() => if changed.is_err() { break },
        }
        // Before the log is read, so that any later commit wakes this task.
        commits.mark_unchanged();
        let heard = tokio::select! {
            biased;
            () = stop(&mut stopped) => break,
            heard = hear(&shared) => heard,
        };
        match heard {
            Ok(()) => {
                backoff.worked();
                retry_at = None;
                shared.note(None, None);
            }
            Err(error) => {
                let pause = backoff.failed();
                tracing::warn!(%error, ?pause, "the log of changes cannot be read");
                shared.note(None, Some(error.to_string()));
                retry_at = Some(Instant::now() + pause);
            }
        }
    }
    workers.join().await;
}

async fn hear(shared: &Shared) -> Result<(), CatchUpError> {
    let _hearing = shared.hearing.lock().await;
    let heard = shared.progress.read(|view| view.heard());
    let news = shared.truth.news(heard.position).await?;
    shared.observer.invalidated(&news.invalidations);
    shared.progress.hear(news.head, &news.collections);
    Ok(())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The running workers.
struct Workers {
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    running: HashMap<Id, Name>,
    rebuild: Option<Commit>,
}

impl Workers {
    fn new(shared: Arc<Shared>, rebuild: Option<Commit>, stopped: watch::Receiver<bool>) -> Self {
        Self { shared, stopped, tasks: JoinSet::new(), running: HashMap::new(), rebuild }
    }

    /// Starts a worker for each collection that lags and has none.
    fn start_missing(&mut self) {
        let running: HashSet<_> = self.running.values().collect();
        let missing: Vec<_> = self.shared.progress.read(|view| {
            let lagging = view.lags().filter(|(name, _)| !running.contains(name));
            lagging.map(|(name, lag)| (name.clone(), lag.applied)).collect()
        });
        for (collection, applied) in missing {
            let start = match self.rebuild {
                Some(at) if applied < at => Start::Scan(at),
                _ => Start::Log(applied),
            };
            let (shared, stopped) = (Arc::clone(&self.shared), self.stopped.clone());
            let name = collection.clone();
            let task = self.tasks.spawn(async move { work(&shared, &name, start, stopped).await });
            self.running.insert(task.id(), collection);
        }
    }

    /// Waits until a worker has ended; forever if there is none.
    async fn ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                // Workers catch panics, so this is a bug in them.
                tracing::error!(%error, "a worker of the catch-up ended unexpectedly");
                error.id()
            }
            None => return std::future::pending().await,
        };
        self.running.remove(&id);
    }

    async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
