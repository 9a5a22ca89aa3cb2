//! The audit log.

use sqlx::SqliteConnection;

use super::{SqliteSystem, stored};
use crate::TruthError;
use crate::system::{AuditEntry, AuditRecord, KEPT_AUDIT, MAX_AUDIT_PAGE, cut};

/// The most lines that one transaction forgets. There are more only if fewer are kept than before.
pub(super) const FORGOTTEN_AT_ONCE: u32 = 100;

impl SqliteSystem {
    pub(super) async fn insert_audit(&self, record: AuditRecord) -> Result<u64, TruthError> {
        self.write(move |connection| Box::pin(append(connection, record, KEPT_AUDIT))).await
    }

    pub(super) async fn read_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, TruthError> {
        let rows: Vec<(u64, u64, String, String, String, String)> = sqlx::query_as(
            "SELECT id, at_ms, who, action, target, outcome FROM audit WHERE id < ?
             ORDER BY id DESC LIMIT ?",
        )
        .bind(before.map_or(i64::MAX, stored))
        .bind(limit.min(MAX_AUDIT_PAGE))
        .fetch_all(&self.pool)
        .await?;
        let entry = |(id, at_unix_ms, who, action, target, outcome)| AuditEntry {
            id,
            record: AuditRecord { at_unix_ms, who, action, target, outcome },
        };
        Ok(rows.into_iter().map(entry).collect())
    }
}

/// Appends a line, and forgets some of those that are not among the newest `kept`.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    record: AuditRecord,
    kept: u32,
) -> Result<u64, TruthError> {
    let AuditRecord { at_unix_ms, who, action, target, outcome } = record;
    let id: u64 = sqlx::query_scalar(
        "INSERT INTO audit (at_ms, who, action, target, outcome) VALUES (?, ?, ?, ?, ?)
         RETURNING id",
    )
    .bind(stored(at_unix_ms))
    .bind(cut(&who))
    .bind(cut(&action))
    .bind(cut(&target))
    .bind(cut(&outcome))
    .fetch_one(&mut *connection)
    .await?;
    // No id is left out, so this many are kept.
    sqlx::query(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= ? ORDER BY id LIMIT ?)",
    )
    .bind(stored(id.saturating_sub(kept.into())))
    .bind(FORGOTTEN_AT_ONCE)
    .execute(connection)
    .await?;
    Ok(id)
}
