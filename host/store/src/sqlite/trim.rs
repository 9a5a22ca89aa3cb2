//! Trimming: forgetting the beginning of the history.
//!
//! Moving the beginning is one small transaction. What nothing can read any more is then deleted
//! in transactions of a bounded size, so that writers get their turns in between. If that is cut
//! short, the next call goes on with it.

use sqlx::SqliteConnection;

use weir_core::crash::{self, Point};
use weir_core::{Commit, Position};

use super::backlog::LINE_BYTES;
use super::commits::KEPT_COMMITS;
use super::write::Write;
use super::{SqliteTruth, commits, stored};
use crate::TruthError;

/// The most rows of a table that one transaction deletes.
pub(super) const ROWS: u32 = 1_000;

impl SqliteTruth {
    /// Moves the beginning of the history up to `to`, as far as it can be moved, and deletes
    /// what is before it. Returns where the history begins now.
    pub(super) async fn trim_to(&self, to: Position) -> Result<Commit, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        // Later commits take nothing back: they are after the head, and kept statistics stay.
        let target = reachable(&mut read, to).await?;
        drop(read);
        let trimmed = self
            .write(move |write| {
                Box::pin(async move {
                    let moved = "UPDATE truth SET trimmed = ?1 WHERE trimmed < ?1";
                    sqlx::query(moved).bind(stored(target)).execute(write.connection()).await?;
                    crash::at(Point::BeforeTrim);
                    commits::trimmed(write.connection()).await
                })
            })
            .await?;
        crash::at(Point::AfterTrim);
        let position = trimmed.position;
        while self.write(move |write| Box::pin(delete_some(write, position))).await? {
            crash::at(Point::AfterForgetting);
        }
        Ok(trimmed)
    }
}

/// The last position up to `to` at which every collection that exists then, and that has rolled,
/// has the statistics of its epoch.
async fn reachable(
    connection: &mut SqliteConnection,
    to: Position,
) -> Result<Position, TruthError> {
    let mut target = to.min(commits::head(connection).await?.position);
    // Between a roll without statistics and the collection's next one, or its end. Overlaps are
    // resolved in one pass, because the target only moves to before a roll.
    let missing: Vec<(u64, u64)> = sqlx::query_as(
        "SELECT epoch, min(ifnull(dropped, ?1 + 1), ifnull(
           (SELECT min(epoch) FROM statistics AS next
            WHERE next.collection = statistics.collection AND next.epoch > statistics.epoch),
           ?1 + 1))
         FROM statistics JOIN collections ON collections.key = statistics.collection
         WHERE epoch <= ?1 AND encoded IS NULL ORDER BY epoch DESC",
    )
    .bind(stored(target))
    .fetch_all(connection)
    .await?;
    for (roll, until) in missing {
        if (roll..until).contains(&target.0) {
            target = Position(roll - 1);
        }
    }
    Ok(target)
}

/// Deletes some of what nothing reads that begins at `trimmed`. Whether there is more of it.
async fn delete_some(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let mut more = lines(write, trimmed).await?;
    more |= versions(write, trimmed).await?;
    more |= dropped(write, trimmed).await?;
    more |= statistics(write, trimmed).await?;
    more |= chains(write, trimmed).await?;
    crash::at(Point::BeforeForgetting);
    Ok(more)
}

async fn lines(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let deleted = sqlx::query(
        "DELETE FROM changes WHERE (collection, position, line) IN
           (SELECT collection, position, line FROM changes INDEXED BY changes_by_position
            WHERE position <= ? LIMIT ?)",
    )
    .bind(stored(trimmed))
    .bind(ROWS)
    .execute(write.connection())
    .await?
    .rows_affected();
    write.free(deleted * LINE_BYTES);
    Ok(deleted == u64::from(ROWS))
}

async fn versions(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let versions: Vec<(i64, u64)> =
        sqlx::query_as("SELECT key, bytes FROM documents WHERE ended <= ? LIMIT ?")
            .bind(stored(trimmed))
            .bind(ROWS)
            .fetch_all(write.connection())
            .await?;
    delete_versions(write, &versions).await?;
    Ok(versions.len() == ROWS as usize)
}

/// A collection that no longer exists at any position, after its last versions.
async fn dropped(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let collection: Option<i64> =
        sqlx::query_scalar("SELECT key FROM collections WHERE dropped <= ? LIMIT 1")
            .bind(stored(trimmed))
            .fetch_optional(write.connection())
            .await?;
    let Some(collection) = collection else { return Ok(false) };
    // Those that ended before the drop are left to `versions`.
    let current: Vec<(i64, u64)> = sqlx::query_as(
        "SELECT key, bytes FROM documents WHERE collection = ? AND ended IS NULL LIMIT ?",
    )
    .bind(collection)
    .bind(ROWS)
    .fetch_all(write.connection())
    .await?;
    let bytes = delete_versions(write, &current).await?;
    sqlx::query("UPDATE collections SET bytes = bytes - ? WHERE key = ?")
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .bind(collection)
        .execute(write.connection())
        .await?;
    let statistics = sqlx::query(
        "DELETE FROM statistics WHERE key IN
           (SELECT key FROM statistics WHERE collection = ? LIMIT ?)",
    )
    .bind(collection)
    .bind(ROWS)
    .execute(write.connection())
    .await?;
    if current.len() < ROWS as usize && statistics.rows_affected() < u64::from(ROWS) {
        sqlx::query(
            "DELETE FROM collections WHERE key = ?1
               AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = ?1)",
        )
        .bind(collection)
        .execute(write.connection())
        .await?;
    }
    Ok(true)
}

/// Returns their size.
async fn delete_versions(
    write: &mut Write<'_>,
    versions: &[(i64, u64)],
) -> Result<u64, TruthError> {
    for (key, _) in versions {
        sqlx::query("DELETE FROM documents WHERE key = ?")
            .bind(key)
            .execute(write.connection())
            .await?;
    }
    let bytes = versions.iter().map(|(_, bytes)| bytes).sum();
    write.free(bytes);
    Ok(bytes)
}

/// Those of epochs that ended before the beginning.
async fn statistics(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let deleted = sqlx::query(
        "DELETE FROM statistics WHERE key IN
           (SELECT key FROM statistics AS old WHERE epoch < ?1 AND EXISTS
             (SELECT 1 FROM statistics AS next WHERE next.collection = old.collection
                AND next.epoch > old.epoch AND next.epoch <= ?1)
            LIMIT ?2)",
    )
    .bind(stored(trimmed))
    .bind(ROWS)
    .execute(write.connection())
    .await?;
    Ok(deleted.rows_affected() == u64::from(ROWS))
}

/// Of commits that are trimmed and not among the newest; the one at the beginning is kept.
async fn chains(write: &mut Write<'_>, trimmed: Position) -> Result<bool, TruthError> {
    let kept = write.commit().position.0.saturating_sub(KEPT_COMMITS);
    let deleted = sqlx::query(
        "DELETE FROM commits WHERE position IN
           (SELECT position FROM commits WHERE position < ? ORDER BY position LIMIT ?)",
    )
    .bind(stored(trimmed.min(Position(kept))))
    .bind(ROWS)
    .execute(write.connection())
    .await?;
    Ok(deleted.rows_affected() == u64::from(ROWS))
}
