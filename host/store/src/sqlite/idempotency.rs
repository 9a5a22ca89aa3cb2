//! Idempotency keys: a repeated request gets the first answer instead of being carried out
//! again.
//!
//! A key is stored in the transaction of its request, so a failed request leaves no key. The newest
//! 100,000 are kept, each for 24 hours by the wall clock, which decides nothing else here.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use weir_core::{Chain, Commit, Position};

use super::commits::now_ms;
use super::{SqliteTruth, stored};
use crate::{Committed, IdempotencyKey, TruthError};

pub(super) const MAX_KEYS: i64 = 100_000;
pub(super) const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

impl SqliteTruth {
    /// The result of the request under `key`, if it has been carried out. Callers ask before
    /// they split a repeated request's text; [`Self::put`] asks again within its transaction.
    pub(super) async fn find_replay(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<Committed>, TruthError> {
        find(&mut *self.shared.readers.acquire().await?, key).await
    }
}

/// The result of the request under `key`, if it has been carried out.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
) -> Result<Option<Committed>, TruthError> {
    let row = sqlx::query(
        "SELECT fingerprint, position, chain FROM idempotency_keys
         WHERE key = ? AND stored_ms >= ?",
    )
    .bind(&key.key)
    .bind(now_ms() - KEPT_MS)
    .fetch_optional(connection)
    .await?;
    row.map(|row| committed(&row, key)).transpose()
}

/// Stores `key` with the commit of its request, and deletes the oldest keys.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
    commit: Commit,
) -> Result<(), TruthError> {
    let now_ms = now_ms();
    sqlx::query("DELETE FROM idempotency_keys WHERE stored_ms < ?")
        .bind(now_ms - KEPT_MS)
        .execute(&mut *connection)
        .await?;
    let kept = sqlx::query(
        "INSERT OR REPLACE INTO idempotency_keys (key, fingerprint, position, chain, stored_ms)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&key.key)
    .bind(key.fingerprint.as_slice())
    .bind(stored(commit.position))
    .bind(commit.chain.0)
    .bind(now_ms)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM idempotency_keys WHERE sequence <= ?")
        .bind(kept.last_insert_rowid() - MAX_KEYS)
        .execute(connection)
        .await?;
    Ok(())
}

fn committed(row: &SqliteRow, key: &IdempotencyKey) -> Result<Committed, TruthError> {
    let fingerprint: &[u8] = row.try_get("fingerprint")?;
    if fingerprint != key.fingerprint {
        return Err(TruthError::IdempotencyKeyReused);
    }
    let position = Position(row.try_get("position")?);
    let commit = Commit { position, chain: Chain(row.try_get("chain")?) };
    Ok(Committed { commit, replayed: true })
}
