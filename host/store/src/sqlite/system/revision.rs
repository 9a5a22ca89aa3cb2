//! The counter of revisions.

use sqlx::SqliteConnection;

use crate::TruthError;

/// Takes the next revision.
pub(super) async fn next(connection: &mut SqliteConnection) -> Result<u64, TruthError> {
    let taken = "UPDATE revisions SET last = last + 1 RETURNING last";
    Ok(sqlx::query_scalar(taken).fetch_one(connection).await?)
}

/// The last revision that was taken; zero before the first.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<u64, TruthError> {
    Ok(sqlx::query_scalar("SELECT last FROM revisions").fetch_one(connection).await?)
}
