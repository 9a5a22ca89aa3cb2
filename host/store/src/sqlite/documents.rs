//! Documents: store all or none, replace atomically, and read the current version.
//!
//! A document that is stored again with the same text, metadata and chunks keeps its version:
//! nothing derived from it is outdated, so there is no change to log. One that is set aside gets a
//! new version, which indexes try again. A write that changes nothing gets no position of its own and
//! reports the last commit's. What is replaced or deleted becomes history: see `versions`.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use super::statistics::Tally;
use super::write::Write;
use super::{SqliteTruth, collections, commits, damaged, idempotency, model_change, stored};
use crate::{ChangeKind, Committed, Document, IdempotencyKey, NewDocument, TruthError, chunk_text};

/// The most documents in one write. They share a commit, and readers of the log take each
/// commit as a whole.
pub(super) const MAX_DOCUMENTS_PER_WRITE: usize = 10_000;

impl SqliteTruth {
    /// Stores all of the documents or none, replacing those with the same id. If a request was
    /// already carried out under `key`, returns its result.
    pub(super) async fn put_documents(
        &self,
        collection: Name,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, TruthError> {
        validate(&documents)?;
        self.write(move |write| {
            Box::pin(async move {
                if let Some(key) = &key
                    && let Some(committed) = idempotency::find(write.connection(), key).await?
                {
                    return Ok(committed);
                }
                write.refuse_when_full()?;
                let collection_key = collections::key(write.connection(), &collection).await?;
                let mut tally = Tally::default();
                let mut split_by: (Arc<str>, i64) = ("".into(), 0);
                for document in documents {
                    if split_by.0 != document.split_by {
                        let key = model_change::key(write.connection(), &document.split_by).await?;
                        split_by = (Arc::clone(&document.split_by), key);
                    }
                    if upsert(write, collection_key, &document, split_by.1, &mut tally).await? {
                        write.changed(&collection, &ChangeKind::DocumentPut(document.id)).await?;
                    }
                }
                tally.settle(write, &collection, collection_key).await?;
                let commit = write.commit();
                if let Some(key) = &key {
                    idempotency::keep(write.connection(), key, commit).await?;
                }
                Ok(Committed { commit, replayed: false })
            })
        })
        .await
    }

    /// Deletes the documents in one commit. `None` if none of them existed.
    pub(super) async fn delete_documents(
        &self,
        collection: Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Commit>, TruthError> {
        if ids.len() > MAX_DOCUMENTS_PER_WRITE {
            return Err(TruthError::TooManyDocuments { limit: MAX_DOCUMENTS_PER_WRITE });
        }
        self.write(move |write| {
            Box::pin(async move {
                write.refuse_when_full()?;
                let collection_key = collections::key(write.connection(), &collection).await?;
                let mut tally = Tally::default();
                for id in ids {
                    if end(write, collection_key, &id, &mut tally).await? {
                        write.changed(&collection, &ChangeKind::DocumentDeleted(id)).await?;
                    }
                }
                tally.settle(write, &collection, collection_key).await?;
                Ok(write.has_changes().then(|| write.commit()))
            })
        })
        .await
    }

    /// The document as of the last commit.
    pub(super) async fn read_document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<(Option<Document>, Commit), TruthError> {
        let mut read = self.shared.readers.begin().await?;
        let head = commits::head(&mut read).await?;
        let row = sqlx::query(
            "SELECT documents.id, version, documents.chunks, metadata, text, set_aside,
               (SELECT digest FROM models WHERE key = ifnull(split_by, 1)) AS split_by
             FROM collections LEFT JOIN documents
               ON documents.collection = collections.key AND documents.id = ?
                 AND documents.ended IS NULL
             WHERE collections.name = ? AND collections.dropped IS NULL",
        )
        .bind(id.as_str())
        .bind(collection.as_str())
        .fetch_optional(&mut *read)
        .await?
        .ok_or_else(|| TruthError::UnknownCollection(collection.clone()))?;
        let exists = row.try_get::<Option<&str>, _>("id")?.is_some();
        Ok((exists.then(|| document(&row)).transpose()?, head))
    }
}

/// Refuses documents that could be stored but never indexed: they would stall the catch-up.
fn validate(documents: &[NewDocument]) -> Result<(), TruthError> {
    if documents.len() > MAX_DOCUMENTS_PER_WRITE {
        return Err(TruthError::TooManyDocuments { limit: MAX_DOCUMENTS_PER_WRITE });
    }
    let mut ids = HashSet::with_capacity(documents.len());
    for document in documents {
        let invalid = |reason| TruthError::InvalidDocument { id: document.id.clone(), reason };
        if !ids.insert(&document.id) {
            return Err(TruthError::DuplicateDocument(document.id.clone()));
        }
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&document.metadata)
            .map_err(|error| invalid(format!("its metadata is not a JSON object: {error}")))?;
        if let Some(chunk) =
            document.chunks.iter().find(|chunk| chunk_text(&document.text, chunk).is_none())
        {
            return Err(invalid(format!("its text has no chunk at bytes {chunk:?}")));
        }
    }
    Ok(())
}

/// Ends the current version, if it differs, and adds the new one. Whether anything changed.
async fn upsert(
    write: &mut Write<'_>,
    collection_key: i64,
    document: &NewDocument,
    split_by: i64,
    tally: &mut Tally,
) -> Result<bool, TruthError> {
    let position = stored(write.next().position);
    let chunks: Vec<_> = document.chunks.iter().map(|chunk| (chunk.start, chunk.end)).collect();
    let chunks = serde_json::to_string(&chunks).map_err(damaged)?;
    let ended = sqlx::query_as(
        "UPDATE documents SET ended = ?1
         WHERE collection = ?2 AND id = ?3 AND ended IS NULL
           AND ((chunks, metadata, text) <> (?4, ?5, ?6) OR set_aside IS NOT NULL)
         RETURNING bytes, charged, chunk_count",
    )
    .bind(position)
    .bind(collection_key)
    .bind(document.id.as_str())
    .bind(chunks.as_str())
    .bind(Arc::clone(&document.metadata))
    .bind(Arc::clone(&document.text))
    .fetch_optional(write.connection())
    .await?;
    if let Some(size) = ended {
        tally.end(size);
    }
    let added = sqlx::query_as(
        "INSERT INTO documents (collection, id, version, chunks, metadata, text, split_by)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (collection, id) WHERE ended IS NULL DO NOTHING
         RETURNING bytes, charged, chunk_count",
    )
    .bind(collection_key)
    .bind(document.id.as_str())
    .bind(position)
    .bind(chunks)
    .bind(Arc::clone(&document.metadata))
    .bind(Arc::clone(&document.text))
    .bind(split_by)
    .fetch_optional(write.connection())
    .await?;
    let Some(size) = added else { return Ok(false) };
    tally.add(size);
    Ok(true)
}

/// Ends the current version. Whether there was one.
async fn end(
    write: &mut Write<'_>,
    collection_key: i64,
    id: &DocumentId,
    tally: &mut Tally,
) -> Result<bool, TruthError> {
    let ended = sqlx::query_as(
        "UPDATE documents SET ended = ? WHERE collection = ? AND id = ? AND ended IS NULL
         RETURNING bytes, charged, chunk_count",
    )
    .bind(stored(write.next().position))
    .bind(collection_key)
    .bind(id.as_str())
    .fetch_optional(write.connection())
    .await?;
    let Some(size) = ended else { return Ok(false) };
    tally.end(size);
    Ok(true)
}

/// A row with all columns of a document.
pub(super) fn document(row: &SqliteRow) -> Result<Document, TruthError> {
    let chunks: Vec<(u32, u32)> = serde_json::from_str(row.try_get("chunks")?).map_err(damaged)?;
    Ok(Document {
        id: DocumentId::new(row.try_get("id")?).map_err(damaged)?,
        version: Position(row.try_get("version")?),
        chunks: chunks.into_iter().map(|(start, end)| start..end).collect(),
        metadata: row.try_get::<&str, _>("metadata")?.into(),
        text: row.try_get::<&str, _>("text")?.into(),
        split_by: row.try_get::<Option<&str>, _>("split_by")?.unwrap_or_default().into(),
        set_aside: row.try_get::<Option<&str>, _>("set_aside")?.map(Into::into),
    })
}
