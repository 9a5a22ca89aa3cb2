//! Carries the truth's changes into a derived store, in order, in the background.
//!
//! One task reads the log of changes after the store's position, in pages of whole positions
//! (`page`). It reads the current state of what each entry names, embeds it, and applies the page
//! at once. After a crash, or with a new and empty store, it continues from the store's position.
//!
//! "Applied up to a position" means that everything that changed up to it is in the store as it
//! was then **or newer**, since the truth keeps only the newest version. That is enough for an
//! answer's `as_of`, which claims at least that position. If the answer contains something newer,
//! the newer change comes after its `as_of` and invalidates it. A hit carries the text of its
//! document as it was indexed, so it never gets the text of another version.
//!
//! A failure is retried forever, with growing pauses, and is visible in [`CatchUp::status`]. The
//! document that failed is not skipped, because the store would then claim a position that it
//! does not contain. Out of scope: what clients are told in the meantime, and how long they wait.

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

/// A handle to the running task, which ends after [`CatchUp::stop`] or when this is dropped.
pub struct CatchUp {
    truth: Arc<dyn Truth>,
    progress: Arc<Progress>,
    stopping: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// How far the derived store has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpStatus {
    /// The last position whose changes are all searchable.
    pub applied: Position,
    /// The truth's last position.
    pub target: Position,
    /// Why the catch-up is stalled, if it is.
    pub last_error: Option<String>,
}

/// What the task reports.
struct Progress {
    applied: watch::Sender<Position>,
    last_error: Mutex<Option<String>>,
}

impl CatchUp {
    /// Starts carrying `truth`'s changes into `store`, from the store's position. Nothing else
    /// may apply changes to the store.
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

    /// Returns once everything up to `position` is searchable; waits forever if that never
    /// happens. Dropping the future changes nothing.
    pub async fn reached(&self, position: Position) {
        let mut applied = self.progress.applied.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = applied.wait_for(|applied| *applied >= position).await;
    }

    /// The last position whose changes are all searchable.
    #[must_use]
    pub fn applied(&self) -> Position {
        *self.progress.applied.borrow()
    }

    /// How far the catch-up has got, and why it is stalled if it is.
    #[must_use]
    pub fn status(&self) -> CatchUpStatus {
        CatchUpStatus {
            applied: self.applied(),
            target: *self.truth.committed().borrow(),
            last_error: self.progress.last_error.lock().clone(),
        }
    }

    /// Ends the task: cancels what is being embedded, and waits for what is being applied. Call
    /// this before the truth is closed.
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

/// The result of one step of the task.
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
            // Before the log is read, so that any later commit wakes the task.
            self.commits.mark_unchanged();
            // A panic in a store or an embedder counts as a failure.
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
                    tracing::warn!(%error, failures, ?retry, "the catch-up is stalled");
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
        // A stop does not cancel this, because a store need not be safe to interrupt.
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

/// Returns when the task must stop, or when its handle is dropped.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Doubles the pause after each failure, up to a cap, and randomly shortens it by up to half,
/// so that nodes that failed together do not retry together.
fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = LAST_RETRY.min(FIRST_RETRY * (1 << doublings));
    longest.mul_f64(rand::random_range(0.5..=1.0))
}
