//! Carries the truth's changes into a derived store, in order, in the background.
//!
//! One task reads the log of changes after the store's position, a page of whole positions
//! at a time (`page`), looks at what each line names as it is *now*, embeds it, and applies
//! the page at once. So after a crash, or with a new and empty store, it goes on from
//! whatever position the store has.
//!
//! What "applied up to a position" means: everything that changed up to it is in the store
//! as it was then **or newer**, since the truth keeps only the newest. That is what an
//! answer's `as_of` needs: it claims at least that position, and an answer that holds
//! something newer is invalidated by that newer change, which comes after its `as_of`. A
//! hit carries the version of its document, so texts and hits are never mixed up.
//!
//! A failure is retried for ever, ever more rarely, and seen in [`CatchUp::status`]: going
//! on without the document that failed would claim a position that the store does not
//! contain. Left out: what is told to clients meanwhile, and how long they wait.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_core::Position;
use weir_embedding::Embedder;
use weir_store::Truth;

use self::page::{CatchUpError, Pages};
use crate::VectorStore;

mod page;
#[cfg(test)]
mod tests;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The running task. It ends with [`CatchUp::stop`], or when this is dropped.
pub struct CatchUp {
    truth: Arc<dyn Truth>,
    progress: Arc<Progress>,
    stopping: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// How far the derived store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpStatus {
    /// The last position whose changes are all searchable.
    pub applied: Position,
    /// The truth's last position.
    pub target: Position,
    /// Why it does not get on, until it does.
    pub last_error: Option<String>,
}

/// What the task tells.
struct Progress {
    applied: watch::Sender<Position>,
    last_error: Mutex<Option<String>>,
}

impl CatchUp {
    /// Starts to carry `truth`'s changes into `store`, from where it is. Nothing else may
    /// apply changes to the store.
    pub fn start(
        truth: Arc<dyn Truth>,
        embedder: Arc<dyn Embedder>,
        store: Arc<dyn VectorStore>,
    ) -> Arc<Self> {
        let progress = Arc::new(Progress {
            applied: watch::Sender::new(store.applied()),
            last_error: Mutex::new(None),
        });
        let (stopping, stopped) = watch::channel(false);
        let task = Task {
            commits: truth.committed(),
            pages: Pages::new(Arc::clone(&truth), embedder, store),
            progress: Arc::clone(&progress),
            stopped,
        };
        let task = Mutex::new(Some(tokio::spawn(task.run())));
        Arc::new(Self { truth, progress, stopping, task })
    }

    /// Returns once everything up to `position` can be searched; waits for ever if it never
    /// can. Dropping the future changes nothing.
    pub async fn reached(&self, position: Position) {
        let mut applied = self.progress.applied.subscribe();
        // The sender lives as long as `self`: there is no error to handle.
        let _ = applied.wait_for(|applied| *applied >= position).await;
    }

    /// The last position whose changes are all searchable.
    #[must_use]
    pub fn applied(&self) -> Position {
        *self.progress.applied.borrow()
    }

    /// How far it is, and what is in its way.
    #[must_use]
    pub fn status(&self) -> CatchUpStatus {
        CatchUpStatus {
            applied: self.applied(),
            target: *self.truth.committed().borrow(),
            last_error: self.progress.last_error.lock().clone(),
        }
    }

    /// Ends the task: gives up what is being embedded, waits for what is being applied.
    /// Call it before the truth is closed.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the catch-up ended before it was stopped");
        }
    }
}

/// What a step of the task came to.
enum Step {
    Applied,
    NothingToDo,
    Stopped,
}

struct Task {
    pages: Pages,
    commits: watch::Receiver<Position>,
    progress: Arc<Progress>,
    stopped: watch::Receiver<bool>,
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            // Seen before the log is read: a commit from now on wakes the task.
            self.commits.mark_unchanged();
            // A panic in a store or an embedder is a failure like another.
            let step = AssertUnwindSafe(self.step()).catch_unwind().await;
            match step.unwrap_or(Err(CatchUpError::Panicked)) {
                Ok(Step::Stopped) => return,
                Ok(Step::Applied) => {
                    failures = 0;
                    self.progress.advanced(self.pages.applied());
                }
                Ok(Step::NothingToDo) => {
                    failures = 0;
                    self.progress.advanced(self.pages.applied());
                    tokio::select! {
                        () = stop(&mut self.stopped) => return,
                        _ = self.commits.changed() => {}
                    }
                }
                Err(error) => {
                    failures += 1;
                    let retry = retry_after(failures);
                    tracing::warn!(%error, failures, ?retry, "the catch-up does not get on");
                    *self.progress.last_error.lock() = Some(error.to_string());
                    tokio::select! {
                        () = stop(&mut self.stopped) => return,
                        () = tokio::time::sleep(retry) => {}
                    }
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Step, CatchUpError> {
        let page = tokio::select! {
            biased;
            () = stop(&mut self.stopped) => return Ok(Step::Stopped),
            page = self.pages.next() => page?,
        };
        let Some(page) = page else { return Ok(Step::NothingToDo) };
        // Not cut by a stop: a store need not be safe to leave in the middle.
        self.pages.apply(page).await?;
        Ok(Step::Applied)
    }
}

impl Progress {
    fn advanced(&self, applied: Position) {
        *self.last_error.lock() = None;
        self.applied.send_replace(applied);
    }
}

/// Returns when the task is to stop, also because its handle is gone.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Twice as long after each failure, up to a cap; a random half of it is left out, so that
/// nodes that failed together do not retry together.
fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = LAST_RETRY.min(FIRST_RETRY * (1 << doublings));
    longest.mul_f64(rand::random_range(0.5..=1.0))
}
