//! The log of changes: each write appends to it in its own transaction, and readers read it by
//! position.
//!
//! Entries are never removed, not even ones that a later entry supersedes. A reader that has
//! read up to a position has therefore looked at everything that changed up to it, so it can
//! claim to be as of that position.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::{SqliteTruth, damaged, stored};
use crate::{Change, ChangeKind, TruthError};

const COLLECTION_CREATED: u8 = 0;
const COLLECTION_DELETED: u8 = 1;
const DOCUMENT_PUT: u8 = 2;
const DOCUMENT_DELETED: u8 = 3;

impl SqliteTruth {
    /// The changes after a position, in order. Changes of one position are never separated, so
    /// that a caller can continue after the last one; the result can exceed `limit` by the rest of
    /// its last position.
    pub(super) async fn read_changes(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Change>, TruthError> {
        let rows = sqlx::query(
            "SELECT position, document, collection, kind FROM changes
             WHERE position > ?1 AND position <=
               (SELECT max(position) FROM
                 (SELECT position FROM changes WHERE position > ?1 ORDER BY position LIMIT ?2))
             ORDER BY position, document",
        )
        .bind(stored(after))
        .bind(limit.max(1))
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(change).collect()
    }
}

/// Writes the entries of one commit and moves the counter to their position.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    changes: &[Change],
) -> Result<(), TruthError> {
    for change in changes {
        let (kind, document) = match &change.kind {
            ChangeKind::CollectionCreated => (COLLECTION_CREATED, ""),
            ChangeKind::CollectionDeleted => (COLLECTION_DELETED, ""),
            ChangeKind::DocumentPut(id) => (DOCUMENT_PUT, id.as_str()),
            ChangeKind::DocumentDeleted(id) => (DOCUMENT_DELETED, id.as_str()),
        };
        sqlx::query(
            "INSERT INTO changes (position, document, collection, kind) VALUES (?, ?, ?, ?)",
        )
        .bind(stored(change.position))
        .bind(document)
        .bind(change.collection.as_str())
        .bind(kind)
        .execute(&mut *connection)
        .await?;
    }
    if let Some(last) = changes.last() {
        sqlx::query("UPDATE counter SET position = ?")
            .bind(stored(last.position))
            .execute(connection)
            .await?;
    }
    Ok(())
}

fn change(row: &SqliteRow) -> Result<Change, TruthError> {
    let document = || DocumentId::new(row.try_get("document")?).map_err(damaged);
    let kind = match row.try_get("kind")? {
        COLLECTION_CREATED => ChangeKind::CollectionCreated,
        COLLECTION_DELETED => ChangeKind::CollectionDeleted,
        DOCUMENT_PUT => ChangeKind::DocumentPut(document()?),
        DOCUMENT_DELETED => ChangeKind::DocumentDeleted(document()?),
        other => return Err(damaged(format!("a change of kind {other}"))),
    };
    Ok(Change {
        position: Position(row.try_get("position")?),
        collection: Name::new(row.try_get("collection")?).map_err(damaged)?,
        kind,
    })
}
