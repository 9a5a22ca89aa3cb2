//! The counter of revisions.

use sqlx::SqliteConnection;

use super::stored;
use crate::TruthError;

/// The last revision if it is known to have this fingerprint, otherwise the next one, which has
/// it then.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    fingerprint: [u8; 32],
) -> Result<u64, TruthError> {
    let revision = sqlx::query_scalar(
        "UPDATE revisions SET last = last + (fingerprint IS NOT ?1), fingerprint = ?1
         RETURNING last",
    )
    .bind(fingerprint.as_slice())
    .fetch_one(connection)
    .await?;
    Ok(revision)
}

/// Whether `revision` is still the last one. If so, it has this fingerprint.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    revision: u64,
    fingerprint: [u8; 32],
) -> Result<bool, TruthError> {
    let noted = sqlx::query("UPDATE revisions SET fingerprint = ? WHERE last = ?")
        .bind(fingerprint.as_slice())
        .bind(stored(revision))
        .execute(connection)
        .await?;
    Ok(noted.rows_affected() > 0)
}

/// Takes the next revision, whose fingerprint nobody knows yet.
pub(super) async fn next(connection: &mut SqliteConnection) -> Result<u64, TruthError> {
    let taken = "UPDATE revisions SET last = last + 1, fingerprint = NULL RETURNING last";
    Ok(sqlx::query_scalar(taken).fetch_one(connection).await?)
}

/// The last revision that was taken; zero before the first.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<u64, TruthError> {
    Ok(sqlx::query_scalar("SELECT last FROM revisions").fetch_one(connection).await?)
}
