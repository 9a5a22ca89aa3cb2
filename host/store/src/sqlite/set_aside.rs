//! Documents that are set aside: marks on versions that cannot be indexed.
//!
//! A mark decides how every index treats a version, at all positions of the version, but an earlier
//! index may have treated it differently. So marking a current version is a commit of its own, with
//! a line in the log: answers from before the mark have lower positions than answers after it.
//! Marking a version that has ended needs no commit, because only a rebuild still reads it.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use weir_core::crash::{self, Point};
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use super::{SqliteTruth, damaged, stored};
use crate::{ChangeKind, SetAside, SetAsides, TruthError};

impl SqliteTruth {
    /// Marks a version, the first time. Nothing happens if it is gone.
    pub(super) async fn mark_set_aside(
        &self,
        collection: Name,
        id: DocumentId,
        version: Position,
        reason: String,
    ) -> Result<Commit, TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                // A version is in one collection of the name: no two share a position.
                let marked: Option<(i64, Option<u64>)> = sqlx::query_as(
                    "UPDATE documents SET set_aside = ?1
                     WHERE id = ?2 AND version = ?3 AND set_aside IS NULL
                       AND collection IN (SELECT key FROM collections WHERE name = ?4)
                     RETURNING collection, ended",
                )
                .bind(reason)
                .bind(id.as_str())
                .bind(stored(version))
                .bind(collection.as_str())
                .fetch_optional(write.connection())
                .await?;
                let Some((key, ended)) = marked else { return Ok(write.commit()) };
                crash::at(Point::BeforeMark);
                // Statistics that an earlier index computed with the version's chunks. Those at
                // the beginning of the history stay: nothing can compute them again.
                sqlx::query(
                    "UPDATE statistics SET encoded = NULL WHERE collection = ? AND epoch >= ?
                       AND epoch > (SELECT trimmed FROM truth)",
                )
                .bind(key)
                .bind(stored(version))
                .execute(write.connection())
                .await?;
                if ended.is_some() {
                    return Ok(write.commit());
                }
                let lives = sqlx::query(
                    "UPDATE collections SET last = ? WHERE key = ? AND dropped IS NULL",
                )
                .bind(stored(write.next().position))
                .bind(key)
                .execute(write.connection())
                .await?;
                if lives.rows_affected() > 0 {
                    write.changed(&collection, &ChangeKind::DocumentPut(id)).await?;
                }
                Ok(write.commit())
            })
        })
        .await
    }

    /// How many documents are set aside now, and the first of them by collection and id.
    pub(super) async fn read_set_aside(&self, limit: u32) -> Result<SetAsides, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        let documents = sqlx::query_scalar(
            "SELECT count(*) FROM documents JOIN collections ON collections.key = collection
             WHERE set_aside IS NOT NULL AND ended IS NULL AND dropped IS NULL",
        )
        .fetch_one(&mut *read)
        .await?;
        let rows = sqlx::query(
            "SELECT name, id, version, set_aside
             FROM documents JOIN collections ON collections.key = collection
             WHERE set_aside IS NOT NULL AND ended IS NULL AND dropped IS NULL
             ORDER BY name, id LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut *read)
        .await?;
        let first = rows.iter().map(set_aside).collect::<Result<_, _>>()?;
        Ok(SetAsides { documents, first })
    }
}

fn set_aside(row: &SqliteRow) -> Result<SetAside, TruthError> {
    Ok(SetAside {
        collection: Name::new(row.try_get("name")?).map_err(damaged)?,
        id: DocumentId::new(row.try_get("id")?).map_err(damaged)?,
        version: Position(row.try_get("version")?),
        reason: row.try_get::<&str, _>("set_aside")?.into(),
    })
}
