//! The log of changes: each write appends its lines in its own transaction, and readers read
//! those of one collection by position.
//!
//! Lines are removed from the beginning only, by `trim`. A reader that has read up to a position
//! has therefore looked at everything that changed up to it, so it can claim to be as of that
//! position.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit, Position};

use super::{SqliteTruth, commits, damaged, invalidations, stored};
use crate::{Change, ChangeKind, News, TruthError};

const COLLECTION_CREATED: u8 = 0;
const COLLECTION_DELETED: u8 = 1;
const DOCUMENT_PUT: u8 = 2;
const DOCUMENT_DELETED: u8 = 3;
const ROLLED: u8 = 4;
const MODEL_CHANGED: u8 = 5;

impl SqliteTruth {
    /// The lines of a collection after a position, in whole commits: the result can exceed
    /// `limit` by the rest of its last commit.
    pub(super) async fn read_log(
        &self,
        collection: &Name,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Change>, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, after).await?;
        let rows = sqlx::query(
            "SELECT position, chain, committed_ms, kind, document FROM changes JOIN commits USING (position)
             WHERE collection = ?1 AND position > ?2 AND position <=
               (SELECT max(position) FROM
                 (SELECT position FROM changes WHERE collection = ?1 AND position > ?2
                  ORDER BY position LIMIT ?3))
             ORDER BY position, line",
        )
        .bind(collection.as_str())
        .bind(stored(after))
        .bind(limit.max(1))
        .fetch_all(&mut *read)
        .await?;
        rows.iter().map(change).collect()
    }

    /// The last commit, and what is new after a position: collections with lines, and
    /// invalidations. A collection that was
    /// dropped and then trimmed has no line after any position that can be asked for.
    pub(super) async fn read_news(&self, after: Position) -> Result<News, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, after).await?;
        let head = commits::head(&mut read).await?;
        let rows: Vec<(String, u64)> = sqlx::query_as(
            "SELECT name, max(last) FROM collections INDEXED BY collections_by_last
             WHERE last > ? GROUP BY name ORDER BY name",
        )
        .bind(stored(after))
        .fetch_all(&mut *read)
        .await?;
        let collections = rows
            .iter()
            .map(|(name, last)| Ok((Name::new(name).map_err(damaged)?, Position(*last))))
            .collect::<Result<_, TruthError>>()?;
        let invalidations = invalidations::after(&mut read, after).await?;
        Ok(News { head, collections, invalidations })
    }
}

/// Appends a line. `line` is its number within the commit.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    collection: &Name,
    position: Position,
    line: usize,
    kind: &ChangeKind,
) -> Result<(), TruthError> {
    let (kind, document) = match kind {
        ChangeKind::CollectionCreated => (COLLECTION_CREATED, ""),
        ChangeKind::CollectionDeleted => (COLLECTION_DELETED, ""),
        ChangeKind::DocumentPut(id) => (DOCUMENT_PUT, id.as_str()),
        ChangeKind::DocumentDeleted(id) => (DOCUMENT_DELETED, id.as_str()),
        ChangeKind::Rolled => (ROLLED, ""),
        ChangeKind::ModelChanged => (MODEL_CHANGED, ""),
    };
    sqlx::query(
        "INSERT INTO changes (collection, position, line, kind, document) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(collection.as_str())
    .bind(stored(position))
    .bind(i64::try_from(line).map_err(damaged)?)
    .bind(kind)
    .bind(document)
    .execute(connection)
    .await?;
    Ok(())
}

fn change(row: &SqliteRow) -> Result<Change, TruthError> {
    let document = || DocumentId::new(row.try_get("document")?).map_err(damaged);
    let kind = match row.try_get("kind")? {
        COLLECTION_CREATED => ChangeKind::CollectionCreated,
        COLLECTION_DELETED => ChangeKind::CollectionDeleted,
        DOCUMENT_PUT => ChangeKind::DocumentPut(document()?),
        DOCUMENT_DELETED => ChangeKind::DocumentDeleted(document()?),
        ROLLED => ChangeKind::Rolled,
        MODEL_CHANGED => ChangeKind::ModelChanged,
        other => {
            let what = format!("a line of kind {other} in the log: it is from a newer Weir");
            return Err(damaged(what));
        }
    };
    let position = Position(row.try_get("position")?);
    let commit = Commit { position, chain: Chain(row.try_get("chain")?) };
    // A commit before 1970 was made by a clock that is wrong.
    let committed_unix_ms = row.try_get::<i64, _>("committed_ms")?.try_into().unwrap_or(0);
    Ok(Change { commit, committed_unix_ms, kind })
}
