//! The commits: their chain values, the last one, and the one at which the history begins.
//!
//! The chain values of the newest [`KEPT_COMMITS`] positions are kept, and those of all commits
//! that are not trimmed.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::SqliteConnection;

use weir_core::{Chain, Commit, Position};

use super::{SqliteTruth, damaged, stored};
use crate::{Past, TruthError};

/// How many of the newest positions keep their chain values although they are trimmed.
pub(super) const KEPT_COMMITS: u64 = 1_000_000;

impl SqliteTruth {
    /// What is known about a position.
    pub(super) async fn read_history(&self, position: Position) -> Result<Past, TruthError> {
        let (last, chain): (u64, Option<u32>) = sqlx::query_as(
            "SELECT position, (SELECT chain FROM commits WHERE position = ?) FROM counter",
        )
        .bind(stored(position))
        .fetch_one(&self.shared.readers)
        .await?;
        Ok(match chain {
            _ if position == Position::ZERO => Past::Known(Chain(0)),
            _ if position.0 > last => Past::NotYet,
            Some(chain) => Past::Known(Chain(chain)),
            None => Past::Forgotten,
        })
    }
}

/// The last commit.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<Commit, TruthError> {
    let (position, chain) = sqlx::query_as(
        "SELECT position, (SELECT chain FROM commits WHERE position = counter.position)
         FROM counter",
    )
    .fetch_one(connection)
    .await?;
    known(position, chain)
}

/// The commit at which the history begins.
pub(super) async fn trimmed(connection: &mut SqliteConnection) -> Result<Commit, TruthError> {
    let (position, chain) = sqlx::query_as(
        "SELECT trimmed, (SELECT chain FROM commits WHERE position = truth.trimmed) FROM truth",
    )
    .fetch_one(connection)
    .await?;
    known(position, chain)
}

/// Fails if the state at the position, or the log after it, is no longer kept.
pub(super) async fn refuse_trimmed(
    connection: &mut SqliteConnection,
    at: Position,
) -> Result<(), TruthError> {
    let trimmed = sqlx::query_scalar("SELECT trimmed FROM truth").fetch_one(connection).await?;
    let trimmed = Position(trimmed);
    if at < trimmed { Err(TruthError::Trimmed { at, trimmed }) } else { Ok(()) }
}

/// Makes `commit` the last one.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    commit: Commit,
) -> Result<(), TruthError> {
    sqlx::query("INSERT INTO commits (position, chain, committed_ms) VALUES (?, ?, ?)")
        .bind(stored(commit.position))
        .bind(commit.chain.0)
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE counter SET position = ?")
        .bind(stored(commit.position))
        .execute(connection)
        .await?;
    Ok(())
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn known(position: u64, chain: Option<u32>) -> Result<Commit, TruthError> {
    match (position, chain) {
        (0, _) => Ok(Commit::ZERO),
        (_, Some(chain)) => Ok(Commit { position: Position(position), chain: Chain(chain) }),
        (_, None) => Err(damaged(format!("the commit at position {position} has no chain value"))),
    }
}
