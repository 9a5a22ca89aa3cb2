//! Carries the truth's log into an engine, collection by collection, and publishes the result.
//!
//! `follow` hears commits and starts a worker (`worker`) for each collection that has new lines.
//! A worker reads the collection's lines in pages (`page`), indexes what they name, and applies
//! each page: the engine makes it durable, the observer is told, and then the new snapshot and
//! its positions are published in [`Progress`] together. A page is the state at its last
//! position, so page sizes, timing and restarts change nothing. Collections do not wait for each
//! other.
//!
//! A change of the model is prepared in the background: `model_change` lets a second index follow the
//! log. When it has caught up, the change is committed, and the second index takes over.
//!
//! `reconcile` compares the engine with the truth at the start. What does not belong together is
//! rebuilt: from the documents as they were at the position where the log begins (`rebuild`), and
//! from the log after that. `trim` makes the truth forget what nothing needs any more.
//!
//! `index` embeds documents. One that cannot be embedded, although the embedder works, is set aside
//! after a few attempts: it is marked in the truth, so that every index has it without chunks, and
//! what is behind it goes on. Every other failure is retried forever, with growing pauses, and is
//! visible in [`CatchUp::status`]. No document is skipped, because the snapshot would then claim a
//! position that it does not contain. Out of scope: what clients are told in the meantime, and how
//! long they wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};
use weir_embedding::{EmbedError, Embedder, Origin};
use weir_store::{Change, Invalidations, Truth, TruthError};

pub use self::status::{CatchUpStatus, Lagging, NextIndex};
use crate::progress::Progress;
use crate::{VectorError, VectorStore};

mod follow;
mod index;
mod model_change;
mod page;
mod rebuild;
mod reconcile;
mod status;
#[cfg(test)]
mod tests;
mod trim;
mod worker;

/// Is told what changes, before readers can see it. Must be quick and must not block.
#[async_trait]
pub trait Observer: Send + Sync {
    /// The lines of a page, which are of one collection, are durable in the engine. Readers see them
    /// when this has ended.
    async fn applied(&self, collection: &Name, lines: &[Change]);

    /// Answers from this position on are made with another model.
    fn model_changed(&self, at: Position);

    /// These are heard of, and perhaps not for the first time.
    fn invalidated(&self, invalidations: &Invalidations);
}

/// For an index that has no readers yet. It hears of invalidations that the one with readers may
/// not hear of any more.
struct OfNext(Arc<dyn Observer>);

#[async_trait]
impl Observer for OfNext {
    async fn applied(&self, _collection: &Name, _lines: &[Change]) {}

    fn model_changed(&self, _at: Position) {}

    fn invalidated(&self, invalidations: &Invalidations) {
        self.0.invalidated(invalidations);
    }
}

/// An index: an engine, and the model that makes its vectors.
#[derive(Clone)]
pub struct Index {
    /// The model.
    pub embedder: Arc<dyn Embedder>,
    /// Whose work its documents are for the model: [`Origin::catch_up`].
    pub origin: Arc<Origin>,
    /// The engine.
    pub store: Arc<dyn VectorStore>,
}

/// How the catch-up works. The defaults are for everybody but tests.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many lines of the log are read at once. A page becomes searchable as a whole, so this
    /// is also the granularity of progress. A commit with more lines is one page.
    pub page_lines: u32,
    /// How often the truth is made to forget what is not needed any more.
    pub trim_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page_lines: 64, trim_every: Duration::from_secs(2) }
    }
}

/// How many pages are being prepared at once. Further collections wait for their turn.
const PAGES_AT_ONCE: usize = 8;

/// A handle to the running tasks, which end after [`CatchUp::stop`] or when this is dropped.
pub struct CatchUp {
    progress: Arc<Progress>,
    errors: Arc<Errors>,
    /// The index for the next model, until it takes over.
    next: Arc<Mutex<Option<Arc<Shared>>>>,
    stopping: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Why the log, or a collection, is stalled. By collection; `None` is the log itself.
type Errors = Mutex<BTreeMap<Option<Name>, String>>;

/// What the tasks of an index share.
struct Shared {
    truth: Arc<dyn Truth>,
    embedder: Arc<dyn Embedder>,
    origin: Arc<Origin>,
    store: Arc<dyn VectorStore>,
    progress: Arc<Progress>,
    observer: Arc<dyn Observer>,
    settings: Settings,
    /// The position of the change to its model, after which it applies no other. `None` if that
    /// change is still to come.
    model_since: Option<Position>,
    /// Whether the change to its model is committed, while it is the next index.
    is_committed: AtomicBool,
    /// Held while the log is heard, and by who wants that to wait.
    hearing: tokio::sync::Mutex<()>,
    /// Bounds how many pages are in memory.
    pages: Semaphore,
    errors: Arc<Errors>,
}

/// Why a step of the catch-up failed.
#[derive(Debug, Error)]
pub enum CatchUpError {
    /// The truth failed.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// A text could not be embedded.
    #[error(transparent)]
    Embedding(#[from] EmbedError),
    /// The embedder returned too few vectors, or too many.
    #[error("the embedder returned {got} vectors for {asked} texts")]
    Miscounted {
        /// The number of texts.
        asked: usize,
        /// The number of vectors.
        got: usize,
    },
    /// The embedder returned a vector that no index can hold.
    #[error("the embedder returned a vector that is not one of {dimensions} finite numbers")]
    InvalidVector {
        /// How many it should have.
        dimensions: usize,
    },
    /// The embedder panicked.
    #[error("the embedder panicked")]
    EmbedderPanicked,
    /// What the truth has of a document does not fit together.
    #[error("the document '{0}' is damaged")]
    Damaged(DocumentId),
    /// The truth keeps statistics that cannot be decoded.
    #[error("the keyword statistics of '{0}' are damaged")]
    DamagedStatistics(Name),
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] VectorError),
    /// A task panicked.
    #[error("a task of the catch-up panicked")]
    Panicked,
}

impl CatchUp {
    /// Compares the index with `truth`, and starts carrying the log into it from where it is. When
    /// this returns, the head of the log is heard. Nothing else may change the engines.
    ///
    /// `index` is made with the truth's model. A `next` index is brought up to date in the
    /// background. Then the truth's model is changed to the one that `next` is made with, `next`
    /// takes over, and `index` is cleared.
    ///
    /// # Errors
    /// The truth or an engine failed.
    pub async fn start(
        truth: Arc<dyn Truth>,
        index: Index,
        next: Option<Index>,
        observer: Arc<dyn Observer>,
        settings: Settings,
    ) -> Result<Arc<Self>, CatchUpError> {
        let since = truth.model().await?.map_or(Position::ZERO, |model| model.since);
        let of_next = Arc::new(OfNext(Arc::clone(&observer)));
        let current =
            Started::of(Arc::clone(&truth), index, Some(since), observer, settings).await?;
        let next = match next {
            Some(next) => Some(Started::of(truth, next, None, of_next, settings).await?),
            None => None,
        };
        let progress = Arc::clone(&current.shared.progress);
        let errors = Arc::clone(&current.shared.errors);
        let prepared = Arc::new(Mutex::new(next.as_ref().map(|next| Arc::clone(&next.shared))));
        let (stopping, stopped) = watch::channel(false);
        let task = model_change::run(current, next, Arc::clone(&prepared), stopped);
        let task = Mutex::new(Some(tokio::spawn(task)));
        Ok(Arc::new(Self { progress, errors, next: prepared, stopping, task }))
    }

    /// What readers see, and how far it is.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// How far the catch-up has got, and why it is stalled if it is.
    #[must_use]
    pub fn status(&self) -> CatchUpStatus {
        let view = self.progress.view();
        let mut lagging: Vec<_> = view
            .lags()
            .map(|(collection, lag)| Lagging {
                collection: collection.clone(),
                applied: lag.applied.position,
                target: lag.target,
            })
            .collect();
        lagging.sort_unstable_by(|a, b| a.collection.cmp(&b.collection));
        let applied = view.completed().position;
        let rebuilding = applied < view.required();
        let next = self.next.lock().as_ref().map(|next| next.as_next());
        let awaited = next.as_ref().filter(|next| next.is_committed);
        let last_error =
            first(&self.errors).or_else(|| awaited.and_then(|next| next.last_error.clone()));
        CatchUpStatus { applied, lagging, rebuilding, next, last_error }
    }

    /// Ends the tasks: cancels what is being embedded, and waits for what is being applied. Call
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

/// What an index tells others: the newest view, what changes, and what is stalled.
struct Readers {
    progress: Arc<Progress>,
    observer: Arc<dyn Observer>,
    errors: Arc<Errors>,
}

/// An index that is compared with the truth.
struct Started {
    shared: Arc<Shared>,
    /// The commit at which collections are read first, if it has to be rebuilt.
    rebuild: Option<Commit>,
}

impl Started {
    async fn of(
        truth: Arc<dyn Truth>,
        index: Index,
        model_since: Option<Position>,
        observer: Arc<dyn Observer>,
        settings: Settings,
    ) -> Result<Self, CatchUpError> {
        let since = model_since.unwrap_or_default();
        let embedder = Arc::clone(&index.embedder);
        let start = reconcile::reconcile(&*truth, &*index.store, embedder, since).await?;
        observer.invalidated(&start.invalidations);
        let readers = Readers {
            progress: Arc::new(Progress::new(start.view)),
            observer,
            errors: Arc::default(),
        };
        let shared = Arc::new(Shared::new(truth, index, readers, settings, model_since));
        Ok(Self { shared, rebuild: start.rebuild })
    }
}

/// What is stalled, and why; one of them.
fn first(errors: &Errors) -> Option<String> {
    errors.lock().iter().next().map(|(of, error)| match of {
        Some(collection) => format!("'{collection}': {error}"),
        None => error.clone(),
    })
}

impl Shared {
    fn new(
        truth: Arc<dyn Truth>,
        index: Index,
        readers: Readers,
        settings: Settings,
        model_since: Option<Position>,
    ) -> Self {
        let Index { embedder, origin, store } = index;
        let Readers { progress, observer, errors } = readers;
        Self {
            truth,
            embedder,
            origin,
            store,
            progress,
            observer,
            settings,
            model_since,
            is_committed: AtomicBool::new(false),
            hearing: tokio::sync::Mutex::default(),
            pages: Semaphore::new(PAGES_AT_ONCE),
            errors,
        }
    }

    /// How far it is prepared, if it is for the next model.
    fn as_next(&self) -> NextIndex {
        let view = self.progress.view();
        NextIndex {
            model: self.embedder.model().to_owned(),
            applied: view.completed().position,
            lagging: view.lags().count(),
            is_committed: self.is_committed.load(Ordering::Relaxed),
            last_error: first(&self.errors),
        }
    }

    /// Notes that `of` works, or why it is stalled.
    fn note(&self, of: Option<&Name>, error: Option<String>) {
        let mut errors = self.errors.lock();
        match error {
            Some(error) => drop(errors.insert(of.cloned(), error)),
            None => drop(errors.remove(&of.cloned())),
        }
    }
}

/// Returns when the tasks must stop, or when their handle is dropped.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The pauses after failures.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(30);

    /// Doubles the pause after each failure, up to a cap, and randomly shortens it by up to half,
    /// so that nodes that failed together do not retry together.
    fn failed(&mut self) -> Duration {
        let doublings = self.failures.min(16);
        self.failures += 1;
        let longest = Self::LAST.min(Self::FIRST * (1 << doublings));
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }

    fn worked(&mut self) {
        self.failures = 0;
    }
}
