//! The only way to write documents: checks and splits them, stores them, and waits until they
//! are searchable.
//!
//! HTTP and the `documents` capability both write through [`DocumentService`]. The truth's
//! write is detached from its caller. A write is searchable when the collection's snapshot has it,
//! and answers that were made without it are invalid by then. Out of scope: how bodies are parsed
//! (`weir-server`), and how documents become searchable (`weir_search::catch_up`).

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use weir_core::Commit;
use weir_core::name::{DocumentId, Name};
use weir_embedding::{Embedder, chunks};
use weir_search::catch_up::{CatchUp, CatchUpStatus};
use weir_store::{Collection, Committed, Document, IdempotencyKey, NewDocument, Truth, TruthError};

use super::config::Ingest;

/// A new document, already validated but not yet split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingDocument {
    /// Its id within the collection.
    pub id: DocumentId,
    /// Its text.
    pub text: Arc<str>,
    /// A JSON object, as canonical text.
    pub metadata: Arc<str>,
}

/// Why documents were not stored or read.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// The limit of concurrent writes is reached, and none ended in time.
    #[error("too many documents are being written")]
    Overloaded,
    /// A document is too large.
    #[error("{0}")]
    TooLarge(String),
    /// The truth refused or failed.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// Splitting failed, which is a bug in the splitter or the tokenizer.
    #[error("a document could not be split: {0}")]
    Split(String),
}

/// The right to write documents. Few turns exist at once, which bounds memory and CPU use.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Reads and writes one tenant's documents.
pub struct DocumentService {
    truth: Arc<dyn Truth>,
    catch_up: Arc<CatchUp>,
    limits: Ingest,
    turns: Arc<Semaphore>,
}

impl DocumentService {
    /// Creates a service that writes to `truth`, whose changes `catch_up` makes searchable. All
    /// tenants share `turns`, which has `limits.max_concurrent` permits.
    #[must_use]
    pub fn new(
        truth: Arc<dyn Truth>,
        catch_up: Arc<CatchUp>,
        limits: Ingest,
        turns: Arc<Semaphore>,
    ) -> Self {
        Self { truth, catch_up, limits, turns }
    }

    /// The limits on writing.
    #[must_use]
    pub fn limits(&self) -> &Ingest {
        &self.limits
    }

    /// Waits for the right to write documents.
    ///
    /// # Errors
    /// Overloaded, if that takes longer than `ingest.queue_timeout_ms`.
    pub async fn turn(&self) -> Result<Turn, DocumentError> {
        let wait = Duration::from_millis(self.limits.queue_timeout_ms);
        match timeout(wait, self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(DocumentError::Overloaded),
        }
    }

    /// The result of an earlier request under `key`, if any. Check it before repeating the work.
    ///
    /// # Errors
    /// The key belongs to another request, or the truth failed.
    pub async fn replayed(&self, key: &IdempotencyKey) -> Result<Option<Committed>, DocumentError> {
        Ok(self.truth.replay(key).await?)
    }

    /// Stores all of the documents or none. Afterwards they are durable, and they are searchable
    /// once [`Self::searchable`] returns `true`.
    ///
    /// # Errors
    /// The collection does not exist, a document is too large or given twice, the tenant's quota is
    /// used up, the key belongs to another request, or the truth failed.
    pub async fn put(
        &self,
        turn: Turn,
        collection: &Name,
        documents: Vec<IncomingDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, DocumentError> {
        self.check_sizes(&documents)?;
        let embedder = self.catch_up.progress().read(|view| Arc::clone(view.embedder()));
        // The turn moves along: the blocking thread continues when its caller is dropped.
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
                        "The {part} of the document '{id}' has {bytes} bytes; at most {max} are allowed."
                    )));
                }
            }
        }
        Ok(())
    }

    /// Waits until the writes are searchable: each collection up to its commit. `false` if that
    /// takes longer than `ingest.searchable_timeout_ms`. Other collections do not matter.
    pub async fn searchable(&self, writes: &[(&Name, Commit)]) -> bool {
        let wait = Duration::from_millis(self.limits.searchable_timeout_ms);
        let reached = self.catch_up.progress().wait_for(|view| {
            // Heard as well, so that answers over other collections state no less either.
            let searchable = |(collection, commit): &(&Name, Commit)| {
                view.heard() >= *commit && view.applied(collection) >= *commit
            };
            writes.iter().all(searchable)
        });
        timeout(wait, reached).await.is_ok()
    }

    /// The document as of the last commit, and that commit.
    ///
    /// # Errors
    /// The collection does not exist, or the truth failed.
    pub async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<(Option<Document>, Commit), DocumentError> {
        Ok(self.truth.document(collection, id).await?)
    }

    /// Deletes documents in one commit; `None` if none of them existed.
    ///
    /// # Errors
    /// The collection does not exist, or the truth failed.
    pub async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Commit>, DocumentError> {
        Ok(self.truth.delete(collection, ids).await?)
    }

    /// Creates a collection if it does not exist. The commit is that of its creation, or `None` if
    /// it already existed.
    ///
    /// # Errors
    /// The tenant has as many collections as it may have, or the truth failed.
    pub async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Commit>), DocumentError> {
        Ok(self.truth.create_collection(name).await?)
    }

    /// Deletes a collection and all of its documents; `None` if it did not exist.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn drop_collection(&self, name: &Name) -> Result<Option<Commit>, DocumentError> {
        Ok(self.truth.drop_collection(name).await?)
    }

    /// The collection as of the last commit, if it exists, and that commit.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn collection(
        &self,
        name: &Name,
    ) -> Result<(Option<Collection>, Commit), DocumentError> {
        Ok(self.truth.collection(name).await?)
    }

    /// All collections as of the last commit, sorted by name, and that commit.
    ///
    /// # Errors
    /// The truth failed.
    pub async fn collections(&self) -> Result<(Vec<Collection>, Commit), DocumentError> {
        Ok(self.truth.collections().await?)
    }

    /// The last commit.
    #[must_use]
    pub fn head(&self) -> Commit {
        *self.truth.committed().borrow()
    }

    /// How far the search index is, and why it is stalled if it is.
    #[must_use]
    pub fn catch_up(&self) -> CatchUpStatus {
        self.catch_up.status()
    }

    /// Stops the catch-up, then closes the truth once the writes that have started are done.
    pub async fn close(&self) {
        self.catch_up.stop().await;
        self.truth.close().await;
    }
}

fn split(documents: Vec<IncomingDocument>, embedder: &dyn Embedder) -> Vec<NewDocument> {
    let split_by: Arc<str> = embedder.model_digest().into();
    documents
        .into_iter()
        .map(|IncomingDocument { id, text, metadata }| {
            let chunks = chunks::split(&text, embedder);
            NewDocument { id, text, metadata, chunks, split_by: Arc::clone(&split_by) }
        })
        .collect()
}
