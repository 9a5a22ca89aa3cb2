//! The versions of documents: the state at a position.
//!
//! A version existed at the positions from its own until it ended, while its collection existed.

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::documents::document;
use super::{SqliteTruth, collections, commits, damaged, stored};
use crate::{Document, TruthError};

impl SqliteTruth {
    /// The documents among `ids` that existed at a position, by id.
    pub(super) async fn read_documents_at(
        &self,
        collection: &Name,
        ids: &[DocumentId],
        at: Position,
    ) -> Result<Vec<Document>, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, at).await?;
        let Some(key) = collections::key_at(&mut read, collection, at).await? else {
            return Ok(Vec::new());
        };
        let ids: Vec<_> = ids.iter().map(DocumentId::as_str).collect();
        // One parameter for any number of ids. CROSS JOIN looks each of them up in turn.
        let rows = sqlx::query(
            "SELECT id, version, chunks, metadata, text, set_aside,
               (SELECT digest FROM models WHERE key = ifnull(split_by, 1)) AS split_by
             FROM (SELECT DISTINCT value FROM json_each(?1)) AS asked
             CROSS JOIN documents
               ON collection = ?2 AND id = asked.value
                 AND version <= ?3 AND (ended IS NULL OR ended > ?3)",
        )
        .bind(serde_json::to_string(&ids).map_err(damaged)?)
        .bind(key)
        .bind(stored(at))
        .fetch_all(&mut *read)
        .await?;
        let mut documents: Vec<_> = rows.iter().map(document).collect::<Result<_, _>>()?;
        documents.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        Ok(documents)
    }

    /// A page of the documents that existed at a position, by id. `None` if the collection did
    /// not exist.
    pub(super) async fn read_page_at(
        &self,
        collection: &Name,
        at: Position,
        after: Option<&DocumentId>,
        limit: u32,
    ) -> Result<Option<Vec<Document>>, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, at).await?;
        let Some(key) = collections::key_at(&mut read, collection, at).await? else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT id, version, chunks, metadata, text, set_aside,
               (SELECT digest FROM models WHERE key = ifnull(split_by, 1)) AS split_by
             FROM documents
             WHERE collection = ?1 AND id > ?2
               AND version <= ?3 AND (ended IS NULL OR ended > ?3)
             ORDER BY id LIMIT ?4",
        )
        .bind(key)
        // No id is empty.
        .bind(after.map_or("", DocumentId::as_str))
        .bind(stored(at))
        .bind(limit.max(1))
        .fetch_all(&mut *read)
        .await?;
        rows.iter().map(document).collect::<Result<_, _>>().map(Some)
    }
}
