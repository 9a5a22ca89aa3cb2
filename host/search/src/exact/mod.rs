//! The exact store keeps every document in memory and compares a query with all vectors. It is the
//! embedded engine, and the oracle that other engines are tested against.
//!
//! A collection's state is immutable: a writer makes the next one while readers search the ones
//! that they hold, and nobody holds a lock during a search. `collection` makes it of a few
//! `part`s, each a `segment` (vectors, compared by `dot`, and `postings` of terms) and what is
//! dead in it, and ranks with `rank`; `snapshot` is what readers hold; `page` prepares the next
//! state; `file`, `load` and `codec` keep everything on disk; `check` guards both entrances.
//! Out of scope: approximation, so the time of a search is proportional to the size of the
//! collection; and quantisation, so a vector takes four bytes per component.

mod check;
mod codec;
mod collection;
mod dot;
mod file;
mod load;
mod page;
mod part;
mod postings;
mod rank;
mod segment;
mod snapshot;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::{IndexPage, Snapshot, Stored, VectorError, VectorStore};
use weir_core::Commit;
use weir_core::name::Name;

use collection::{Collection, Entry, State};
use file::IndexFile;
use load::Origin;
use page::prepare;
use snapshot::CollectionSnapshot;

/// The exact store.
#[derive(Debug)]
pub struct ExactStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dimensions: usize,
    /// Locked for as long as it takes to copy or replace an entry. Changed only by the holder of
    /// `file`.
    state: RwLock<State>,
    /// Held while a change is written and published. Without a file, everything is in memory
    /// only.
    file: Mutex<Option<IndexFile>>,
    /// Whether there is a file.
    durable: bool,
}

impl ExactStore {
    /// Opens the store in `folder`, for what is derived from the truth with the id `truth`, with
    /// vectors of `dimensions` components from the model with `model_digest`. If there is one that
    /// [`open_next`](Self::open_next) made with this model, it takes the place of the index. An index
    /// made with others or in another format is removed, and a damaged one is moved to
    /// `vectors.sqlite.damaged`; the store is then empty.
    pub async fn open(
        folder: &Path,
        truth: &str,
        model_digest: &str,
        dimensions: usize,
    ) -> Result<Self, VectorError> {
        file::promote(folder, model_digest).await?;
        let origin = Origin { truth, model_digest, dimensions };
        Self::open_file(folder, file::INDEX, origin).await
    }

    /// Opens a second store in `folder`, for another model than the first one's.
    pub async fn open_next(
        folder: &Path,
        truth: &str,
        model_digest: &str,
        dimensions: usize,
    ) -> Result<Self, VectorError> {
        let origin = Origin { truth, model_digest, dimensions };
        Self::open_file(folder, file::NEXT, origin).await
    }

    /// Removes what [`open_next`](Self::open_next) has made, which must not be open.
    pub fn discard_next(folder: &Path) -> Result<(), VectorError> {
        file::remove(&folder.join(file::NEXT)).map_err(failed)
    }

    async fn open_file(folder: &Path, name: &str, origin: Origin<'_>) -> Result<Self, VectorError> {
        let (file, state) = IndexFile::open(folder, name, origin).await?;
        Ok(Self::new(origin.dimensions, Some(file), state))
    }

    /// An empty store that is lost when the process ends.
    #[must_use]
    pub fn in_memory(dimensions: usize) -> Self {
        Self::new(dimensions, None, State::default())
    }

    fn new(dimensions: usize, file: Option<IndexFile>, state: State) -> Self {
        let shared = Shared {
            dimensions,
            state: RwLock::new(state),
            durable: file.is_some(),
            file: Mutex::new(file),
        };
        Self { shared: Arc::new(shared) }
    }
}

/// Every change continues even if its future is dropped.
#[async_trait]
impl VectorStore for ExactStore {
    fn stored(&self) -> HashMap<Name, Stored> {
        let state = self.shared.state.read();
        let stored = |(name, entry): (&Name, &Entry)| {
            let snapshot = self.shared.snapshot(entry.collection.as_ref());
            (name.clone(), Stored { last: entry.last, snapshot })
        };
        state.entries.iter().map(stored).collect()
    }

    fn completed(&self) -> Commit {
        self.shared.state.read().completed
    }

    /// Ignores a page that ends at or before the collection's last line, and returns the
    /// collection's current state.
    async fn apply(&self, page: IndexPage) -> Result<Option<Arc<dyn Snapshot>>, VectorError> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.apply(page).await }).await.map_err(failed)?
    }

    /// Ignores a commit that is not after [`completed`](VectorStore::completed).
    async fn complete(&self, commit: Commit) -> Result<(), VectorError> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.complete(commit).await }).await.map_err(failed)?
    }

    async fn clear(&self) -> Result<(), VectorError> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.clear().await }).await.map_err(failed)?
    }
}

impl Shared {
    fn entry(&self, name: &Name) -> Option<Entry> {
        self.state.read().entries.get(name).cloned()
    }

    fn snapshot(&self, collection: Option<&Arc<Collection>>) -> Option<Arc<dyn Snapshot>> {
        Some(Arc::new(CollectionSnapshot { collection: Arc::clone(collection?) }))
    }

    /// Prepares the page, next to searches and other collections' pages, then makes it durable,
    /// then publishes it: nobody sees a part of a page, or anything that a crash could undo.
    async fn apply(&self, page: IndexPage) -> Result<Option<Arc<dyn Snapshot>>, VectorError> {
        let (name, last) = (page.collection.clone(), page.up_to);
        let before = self.entry(&name);
        if let Some(before) = &before
            && last.position <= before.last.position
        {
            return Ok(self.snapshot(before.collection.as_ref()));
        }
        let base = before.as_ref().and_then(|entry| entry.collection.clone());
        let (dimensions, durable) = (self.dimensions, self.durable);
        let prepare = move || prepare(page, base, dimensions, durable);
        let (change, collection) = tokio::task::spawn_blocking(prepare).await.map_err(failed)??;

        let mut file = self.file.lock().await;
        let last_of = |entry: Option<Entry>| entry.map(|entry| entry.last);
        if last_of(self.entry(&name)) != last_of(before) {
            let reason = format!("the collection '{name}' changed while a page was prepared");
            return Err(VectorError::Failed(reason));
        }
        if let (Some(file), Some(change)) = (file.as_mut(), change) {
            file.apply(change).await.map_err(failed)?;
        }
        let snapshot = self.snapshot(collection.as_ref());
        let replaced = self.state.write().entries.insert(name, Entry { last, collection });
        // Freed after the lock, as it may be large.
        drop(replaced);
        Ok(snapshot)
    }

    async fn complete(&self, commit: Commit) -> Result<(), VectorError> {
        let mut file = self.file.lock().await;
        if commit.position <= self.state.read().completed.position {
            return Ok(());
        }
        if let Some(file) = file.as_mut() {
            file.complete(commit).await.map_err(failed)?;
        }
        let mut state = self.state.write();
        state.completed = commit;
        let needed =
            |entry: &Entry| entry.collection.is_some() || entry.last.position > commit.position;
        state.entries.retain(|_, entry| needed(entry));
        Ok(())
    }

    async fn clear(&self) -> Result<(), VectorError> {
        let mut file = self.file.lock().await;
        if let Some(file) = file.as_mut() {
            file.clear().await.map_err(failed)?;
        }
        let replaced = std::mem::take(&mut *self.state.write());
        drop(replaced);
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> VectorError {
    VectorError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
