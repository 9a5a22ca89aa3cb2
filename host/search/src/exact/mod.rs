//! The exact store keeps every document in memory and compares a query with all vectors. It is the
//! embedded engine, and the oracle that other engines are tested against.
//!
//! `index` holds the collections, made of `rows` (vectors, compared by `dot`) and `postings`
//! (terms), and ranks with `rank`; `batch` is the net effect of changes; `file` and `codec`
//! keep everything on disk. Out of scope: approximation, so the time of a search is proportional to
//! the size of the collection; and quantisation, so a vector takes four bytes per component.

mod batch;
mod codec;
mod dot;
mod file;
mod index;
mod postings;
mod rank;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Semaphore};

use weir_core::Position;

use crate::plan::{Plan, answer};
use crate::{IndexChange, Page, Query, VectorError, VectorStore};
use batch::Batch;
use file::{IndexFile, Origin};
use index::{Collection, Collections};

/// Larger collections are searched off the async threads: this many vectors of 384 components
/// take 0.15 ms (10,000 take 0.9 ms).
const ROWS_SEARCHED_INLINE: usize = 2_000;

/// The exact store.
#[derive(Debug)]
pub struct ExactStore {
    shared: Arc<Shared>,
    /// Lets one search of a large collection per core run at a time; the others wait here, where
    /// they can be cancelled.
    searches: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    dimensions: usize,
    collections: RwLock<Collections>,
    /// Changed only while `collections` is locked for writing.
    applied: AtomicU64,
    /// Held by the running batch. Without a file, everything is in memory only.
    writer: Mutex<Option<IndexFile>>,
}

impl ExactStore {
    /// Opens the store in `folder`, for vectors of `dimensions` components from the model with
    /// `model_digest`. An index made with another model or format is removed, and a damaged one is
    /// moved to `vectors.sqlite.damaged`; the store is then empty, at position zero.
    pub async fn open(
        folder: &Path,
        model_digest: &str,
        dimensions: usize,
    ) -> Result<Self, VectorError> {
        let origin = Origin { model_digest, dimensions };
        let (file, applied, collections) = IndexFile::open(folder, origin).await?;
        Ok(Self::new(dimensions, Some(file), applied, collections))
    }

    /// An empty store that is lost when the process ends.
    #[must_use]
    pub fn in_memory(dimensions: usize) -> Self {
        Self::new(dimensions, None, Position::ZERO, Collections::new())
    }

    fn new(
        dimensions: usize,
        file: Option<IndexFile>,
        applied: Position,
        collections: Collections,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            dimensions,
            collections: RwLock::new(collections),
            applied: AtomicU64::new(applied.0),
            writer: Mutex::new(file),
        };
        Self { shared: Arc::new(shared), searches: Arc::new(Semaphore::new(cores)) }
    }
}

#[async_trait]
impl VectorStore for ExactStore {
    fn applied(&self) -> Position {
        self.shared.applied()
    }

    /// Ignores changes up to a position before [`applied`](VectorStore::applied), which count as
    /// applied already. Continues even if the future is dropped.
    async fn apply(&self, changes: Vec<IndexChange>, up_to: Position) -> Result<(), VectorError> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.apply(changes, up_to).await }).await.map_err(failed)?
    }

    async fn search(&self, query: Query) -> Result<Page, VectorError> {
        let plan = Plan::new(query, self.shared.dimensions)?;
        let rows = self.shared.collections.read().get(&plan.collection).map_or(0, Collection::rows);
        if rows <= ROWS_SEARCHED_INLINE {
            return self.shared.search(&plan);
        }
        let permit = Arc::clone(&self.searches).acquire_owned().await.map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        let search = move || {
            // Held until the search ends, even if nobody waits for it any more.
            let _permit = permit;
            shared.search(&plan)
        };
        tokio::task::spawn_blocking(search).await.map_err(failed)?
    }
}

impl Shared {
    fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// Prepares the changes while searches continue, then makes them durable, then searchable. A
    /// search sees all of a batch or none of it, and nothing that a crash could undo.
    async fn apply(&self, changes: Vec<IndexChange>, up_to: Position) -> Result<(), VectorError> {
        let mut file = self.writer.lock().await;
        let applied = self.applied();
        if up_to < applied {
            return Ok(());
        }
        let batch = Batch::new(&self.collections.read(), changes, up_to, self.dimensions)?;
        if batch.collections.is_empty() && up_to == applied {
            return Ok(());
        }
        if let Some(file) = file.as_mut() {
            file.commit(&batch, up_to).await.map_err(failed)?;
        }
        let gone = {
            let mut collections = self.collections.write();
            let gone = batch::publish(&mut collections, batch, self.dimensions);
            self.applied.store(up_to.0, Ordering::Release);
            gone
        };
        drop(gone);
        Ok(())
    }

    fn search(&self, plan: &Plan) -> Result<Page, VectorError> {
        let collections = self.collections.read();
        let collection = collections
            .get(&plan.collection)
            .ok_or_else(|| VectorError::UnknownCollection(plan.collection.clone()))?;
        Ok(Page { hits: answer(plan, collection)?, as_of: self.applied() })
    }
}

fn failed(error: impl std::fmt::Display) -> VectorError {
    VectorError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
