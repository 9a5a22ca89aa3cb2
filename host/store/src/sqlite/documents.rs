//! Documents: store all or none, replace atomically, and read back.
//!
//! A document that is stored again with the same text, metadata and chunks keeps its version:
//! nothing derived from it is outdated, so there is no change to log. A write that changes
//! nothing gets no position of its own and reports the last commit's.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::write::Write;
use super::{SqliteTruth, collections, damaged, idempotency, stored};
use crate::{ChangeKind, Committed, Document, IdempotencyKey, NewDocument, TruthError, chunk_text};

/// The most documents in one write. They share a position, and readers of the log take each
/// position as a whole.
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
                let collection_key = collections::key(write.connection(), &collection).await?;
                for document in documents {
                    if upsert(write, collection_key, &document).await? {
                        write.changed(&collection, ChangeKind::DocumentPut(document.id));
                    }
                }
                let position = write.position();
                if let Some(key) = &key {
                    idempotency::keep(write.connection(), key, position).await?;
                }
                Ok(Committed { position, replayed: false })
            })
        })
        .await
    }

    /// Deletes the documents at one position. `None` if none of them existed.
    pub(super) async fn delete_documents(
        &self,
        collection: Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Position>, TruthError> {
        if ids.len() > MAX_DOCUMENTS_PER_WRITE {
            return Err(TruthError::TooManyDocuments { limit: MAX_DOCUMENTS_PER_WRITE });
        }
        self.write(move |write| {
            Box::pin(async move {
                let collection_key = collections::key(write.connection(), &collection).await?;
                let before = write.position();
                for id in ids {
                    let deleted =
                        sqlx::query("DELETE FROM documents WHERE collection = ? AND id = ?")
                            .bind(collection_key)
                            .bind(id.as_str())
                            .execute(write.connection())
                            .await?;
                    if deleted.rows_affected() > 0 {
                        write.changed(&collection, ChangeKind::DocumentDeleted(id));
                    }
                }
                let after = write.position();
                Ok((after > before).then_some(after))
            })
        })
        .await
    }

    /// The document as it is now.
    pub(super) async fn read_document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<Option<Document>, TruthError> {
        let row = sqlx::query(
            "SELECT documents.id, version, chunks, metadata, text
             FROM collections LEFT JOIN documents
               ON documents.collection = collections.key AND documents.id = ?
             WHERE collections.name = ?",
        )
        .bind(id.as_str())
        .bind(collection.as_str())
        .fetch_optional(&self.shared.readers)
        .await?
        .ok_or_else(|| TruthError::UnknownCollection(collection.clone()))?;
        document(&row)
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

/// Whether anything changed.
async fn upsert(
    write: &mut Write<'_>,
    collection_key: i64,
    document: &NewDocument,
) -> Result<bool, TruthError> {
    let chunks: Vec<_> = document.chunks.iter().map(|chunk| (chunk.start, chunk.end)).collect();
    let done = sqlx::query(
        "INSERT INTO documents (collection, id, version, chunks, metadata, text)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version,
           chunks = excluded.chunks, metadata = excluded.metadata, text = excluded.text
         WHERE (chunks, metadata, text) <> (excluded.chunks, excluded.metadata, excluded.text)",
    )
    .bind(collection_key)
    .bind(document.id.as_str())
    .bind(stored(write.next()))
    .bind(serde_json::to_string(&chunks).map_err(damaged)?)
    .bind(Arc::clone(&document.metadata))
    .bind(Arc::clone(&document.text))
    .execute(write.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

fn document(row: &SqliteRow) -> Result<Option<Document>, TruthError> {
    let Some(id) = row.try_get::<Option<&str>, _>("id")? else { return Ok(None) };
    let chunks: Vec<(u32, u32)> = serde_json::from_str(row.try_get("chunks")?).map_err(damaged)?;
    Ok(Some(Document {
        id: DocumentId::new(id).map_err(damaged)?,
        version: Position(row.try_get("version")?),
        chunks: chunks.into_iter().map(|(start, end)| start..end).collect(),
        metadata: row.try_get::<&str, _>("metadata")?.into(),
        text: row.try_get::<&str, _>("text")?.into(),
    }))
}
