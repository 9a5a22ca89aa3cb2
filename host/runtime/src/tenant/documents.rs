//! The one way in for documents: validated, split, stored, announced, awaited.
//!
//! HTTP and the `documents` capability both write through [`DocumentService`]. The truth's
//! write is detached from its caller and tells [`follow_commits`] of every commit, so that
//! answers which read what changed are invalid before the writer is told. Left out: how
//! bodies are parsed (`http::documents`), and how documents become searchable
//! (`weir_search::catch_up`).

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use weir_cache::reads::Read;
use weir_cache::tag::{Tag, TagTable};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};
use weir_embedding::{Embedder, chunks};
use weir_search::catch_up::{CatchUp, CatchUpStatus};
use weir_store::{
    Change, Collection, Committed, Document, IdempotencyKey, NewDocument, Truth, TruthError,
};

use super::config::Ingest;

/// A document as it comes in, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingDocument {
    /// Its id within the collection.
    pub id: DocumentId,
    /// Its text.
    pub text: Arc<str>,
    /// Canonical JSON text of an object.
    pub metadata: Arc<str>,
}

/// Why documents were not stored or read.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// As many requests as may are writing, and none ended in time.
    #[error("too many documents are being written")]
    Overloaded,
    /// A document is too large.
    #[error("{0}")]
    TooLarge(String),
    /// The truth refused or failed.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// Splitting failed: a defect of the splitter or the tokenizer.
    #[error("a document could not be split: {0}")]
    Split(String),
}

/// The right to bring documents in. Few are given at once: a turn bounds memory and the
/// processors' work.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// The truth and what follows from it.
pub struct DocumentService {
    truth: Arc<dyn Truth>,
    catch_up: Arc<CatchUp>,
    embedder: Arc<dyn Embedder>,
    limits: Ingest,
    turns: Arc<Semaphore>,
}

impl DocumentService {
    /// Writes to `truth`, whose changes `catch_up` makes searchable. `turns` are the tenants'
    /// together: `limits.max_concurrent` of them.
    #[must_use]
    pub fn new(
        truth: Arc<dyn Truth>,
        catch_up: Arc<CatchUp>,
        embedder: Arc<dyn Embedder>,
        limits: Ingest,
        turns: Arc<Semaphore>,
    ) -> Self {
        Self { truth, catch_up, embedder, limits, turns }
    }

    /// The bounds of what comes in.
    #[must_use]
    pub fn limits(&self) -> &Ingest {
        &self.limits
    }

    /// Waits for the right to bring documents in.
    ///
    /// # Errors
    /// Overloaded, when that takes longer than `ingest.queue_timeout_ms`.
    pub async fn turn(&self) -> Result<Turn, DocumentError> {
        let wait = Duration::from_millis(self.limits.queue_timeout_ms);
        match timeout(wait, self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(DocumentError::Overloaded),
        }
    }

    /// What an earlier request under `key` did: look before the work of repeating it.
    ///
    /// # Errors
    /// The key belongs to another request, or the truth failed.
    pub async fn replayed(&self, key: &IdempotencyKey) -> Result<Option<Committed>, DocumentError> {
        Ok(self.truth.replay(key).await?)
    }

    /// Stores the documents, all or none. They are durable afterwards, and can be searched
    /// once [`Self::searchable`] says so.
    ///
    /// # Errors
    /// There is no such collection, a document is too large or given twice, the key belongs
    /// to another request, or the truth failed.
    pub async fn put(
        &self,
        turn: Turn,
        collection: &Name,
        documents: Vec<IncomingDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, DocumentError> {
        self.check_sizes(&documents)?;
        let embedder = self.embedder.clone();
        // The turn goes along: a caller that goes away does not stop a blocking thread.
        let split = tokio::task::spawn_blocking(move || (split(documents, &*embedder), turn));
        let (documents, _turn) =
            split.await.map_err(|error| DocumentError::Split(error.to_string()))?;
        Ok(self.truth.put(collection, documents, key).await?)
    }

    fn check_sizes(&self, documents: &[IncomingDocument]) -> Result<(), DocumentError> {
        let Ingest { max_text_bytes, max_metadata_bytes, .. } = self.limits;
        for IncomingDocument { id, text, metadata } in documents {
            for (part, bytes, max) in [
                ("text", text.len(), max_text_bytes),
                ("metadata", metadata.len(), max_metadata_bytes),
            ] {
                if bytes > max {
                    let id = id.as_str().escape_debug();
                    return Err(DocumentError::TooLarge(format!(
                        "The {part} of the document '{id}' has {bytes} bytes; {max} are allowed."
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether everything up to `position` can be searched, waiting up to
    /// `ingest.searchable_timeout_ms` for it.
    pub async fn searchable(&self, position: Position) -> bool {
        let wait = Duration::from_millis(self.limits.searchable_timeout_ms);
        timeout(wait, self.catch_up.reached(position)).await.is_ok()
    }

    /// The document as it is now, and the position that this is true at.
    ///
    /// # Errors
    /// There is no such collection, or the truth failed.
    pub async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<(Option<Document>, Position), DocumentError> {
        let as_of = self.position();
        Ok((self.truth.document(collection, id).await?, as_of))
    }

    /// Deletes documents, all at one position; `None` when none of them existed.
    ///
    /// # Errors
    /// There is no such collection, or the truth failed.
    pub async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Position>, DocumentError> {
        Ok(self.truth.delete(collection, ids).await?)
    }

    /// Makes a collection. The position is that of its making, unless it was there.
    ///
    /// # Errors
    /// There are too many, or the truth failed.
    pub async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Position>), DocumentError> {
        Ok(self.truth.create_collection(name).await?)
    }

    /// Drops a collection with all in it; `None` when it was not there.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn drop_collection(&self, name: &Name) -> Result<Option<Position>, DocumentError> {
        Ok(self.truth.drop_collection(name).await?)
    }

    /// A collection, if it is there.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn collection(&self, name: &Name) -> Result<Option<Collection>, DocumentError> {
        Ok(self.truth.collection(name).await?)
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn collections(&self) -> Result<Vec<Collection>, DocumentError> {
        Ok(self.truth.collections().await?)
    }

    /// The position of the last commit.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.truth.committed().borrow()
    }

    /// How far the derived stores are.
    #[must_use]
    pub fn catch_up(&self) -> CatchUpStatus {
        self.catch_up.status()
    }

    /// Lets what has begun end, then closes the data folder.
    pub async fn close(&self) {
        self.catch_up.stop().await;
        self.truth.close().await;
    }
}

fn split(documents: Vec<IncomingDocument>, embedder: &dyn Embedder) -> Vec<NewDocument> {
    documents
        .into_iter()
        .map(|IncomingDocument { id, text, metadata }| {
            let chunks = chunks::split(&text, embedder);
            NewDocument { id, text, metadata, chunks }
        })
        .collect()
}

/// Every commit of `truth` from now on invalidates, in `tags`, what read what it changed.
pub fn follow_commits(truth: &dyn Truth, tags: Arc<TagTable>) {
    truth.observe_commits(Box::new(move |changes| {
        // All changes of a commit share its position.
        let Some(position) = changes.first().map(|change| change.position) else { return };
        tags.record(&tags_of(changes), position);
    }));
}

/// What `changes` touched, each tag once.
fn tags_of(changes: &[Change]) -> Vec<Tag> {
    let mut collections: Vec<&Name> = changes.iter().map(|change| &change.collection).collect();
    collections.dedup();
    collections.into_iter().map(|name| Read::Collection(name.clone()).tag()).collect()
}
