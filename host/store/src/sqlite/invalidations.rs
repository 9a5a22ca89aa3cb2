//! Invalidations: commits that change no document, and after which nothing that was made before is
//! served from a cache.
//!
//! The newest [`KEPT`] are kept, for as long as the truth: an answer can be kept for long in a tier outside
//! of the process. When there are more, everything counts as invalidated where the oldest of them
//! was. Out of scope: what is invalidated, which only whoever caches understands.

use sqlx::SqliteConnection;
use weir_core::{Commit, Position};

use super::{SqliteTruth, stored};
use crate::{Invalidation, Invalidations, TruthError};

/// How many invalidations are kept.
pub(super) const KEPT: u32 = 10_000;

impl SqliteTruth {
    /// Commits an invalidation. A hard one replaces the earlier ones of the same.
    pub(super) async fn insert_invalidation(
        &self,
        what: String,
        is_soft: bool,
    ) -> Result<Commit, TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                write.commit_without_lines();
                let position = stored(write.next().position);
                let connection = write.connection();
                if !is_soft {
                    let replaced = "DELETE FROM invalidations WHERE what = ?";
                    sqlx::query(replaced).bind(&what).execute(&mut *connection).await?;
                }
                sqlx::query("INSERT INTO invalidations (position, what, soft) VALUES (?, ?, ?)")
                    .bind(position)
                    .bind(&what)
                    .bind(is_soft)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("UPDATE truth SET invalidated = ?")
                    .bind(position)
                    .execute(&mut *connection)
                    .await?;
                merge_oldest(connection).await?;
                Ok(write.commit())
            })
        })
        .await
    }
}

/// Forgets what is more than is kept, and has it count as an invalidation of everything.
async fn merge_oldest(connection: &mut SqliteConnection) -> Result<(), TruthError> {
    let newest_surplus: Option<i64> = sqlx::query_scalar(
        "SELECT position FROM invalidations ORDER BY position DESC LIMIT 1 OFFSET ?",
    )
    .bind(KEPT)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(position) = newest_surplus {
        sqlx::query("UPDATE truth SET invalidated_before = ?")
            .bind(position)
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM invalidations WHERE position <= ?")
            .bind(position)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// What was invalidated after a position.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    after: Position,
) -> Result<Invalidations, TruthError> {
    let (last, before): (u64, u64) =
        sqlx::query_as("SELECT invalidated, invalidated_before FROM truth")
            .fetch_one(&mut *connection)
            .await?;
    let mut invalidations = Invalidations { before: Position(before), kept: Vec::new() };
    if Position(last) > after {
        let rows: Vec<(u64, String, bool, Option<i64>)> = sqlx::query_as(
            "SELECT position, what, soft, committed_ms
             FROM invalidations LEFT JOIN commits USING (position)
             WHERE position > ? ORDER BY position",
        )
        .bind(stored(after))
        .fetch_all(connection)
        .await?;
        let invalidation = |(position, what, is_soft, committed_ms): (_, _, _, Option<i64>)| {
            let committed_unix_ms = committed_ms.and_then(|ms| ms.try_into().ok());
            Invalidation { position: Position(position), committed_unix_ms, what, is_soft }
        };
        invalidations.kept = rows.into_iter().map(invalidation).collect();
    }
    Ok(invalidations)
}
