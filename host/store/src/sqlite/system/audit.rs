//! The audit log.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use weir_core::name::Name;

use super::{SqliteSystem, damaged, stored};
use crate::TruthError;
use crate::system::{AuditEntry, AuditPage, AuditRecord, KEPT_AUDIT, MAX_AUDIT_PAGE, cut};

/// The most lines that one transaction forgets. There are more only if fewer are kept than before.
pub(super) const FORGOTTEN_AT_ONCE: u32 = 100;

impl SqliteSystem {
    pub(super) async fn insert_audit(&self, record: AuditRecord) -> Result<u64, TruthError> {
        self.write(move |connection| Box::pin(append(connection, record, KEPT_AUDIT))).await
    }

    /// Each condition has an index, so that no page takes long.
    pub(super) async fn read_audit(&self, page: AuditPage) -> Result<Vec<AuditEntry>, TruthError> {
        let AuditPage { before, limit, target, tenant } = page;
        let mut query = QueryBuilder::new("SELECT * FROM audit WHERE id < ");
        query.push_bind(before.map_or(i64::MAX, stored));
        if let Some(target) = &target {
            query.push(" AND target = ").push_bind(cut(target));
        }
        if let Some(tenant) = &tenant {
            query.push(" AND tenant = ").push_bind(tenant.as_str());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(limit.min(MAX_AUDIT_PAGE));
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &SqliteRow) -> Result<AuditEntry, TruthError> {
    let (token, tenant): (Option<&str>, Option<&str>) =
        (row.try_get("token")?, row.try_get("tenant")?);
    let record = AuditRecord {
        at_unix_ms: row.try_get("at_ms")?,
        who: row.try_get("who")?,
        token: token.map(|id| id.parse().map_err(damaged)).transpose()?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        tenant: tenant.map(|name| Name::new(name).map_err(damaged)).transpose()?,
        detail: row.try_get("detail")?,
        outcome: row.try_get("outcome")?,
    };
    Ok(AuditEntry { id: row.try_get("id")?, record })
}

/// Appends a line, and forgets some of those that are not among the newest `kept`.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    record: AuditRecord,
    kept: u32,
) -> Result<u64, TruthError> {
    let AuditRecord { at_unix_ms, who, token, action, target, tenant, detail, outcome } = record;
    let id: u64 = sqlx::query_scalar(
        "INSERT INTO audit (at_ms, who, token, action, target, tenant, detail, outcome)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(stored(at_unix_ms))
    .bind(cut(&who))
    .bind(token.map(|id| id.to_string()))
    .bind(cut(&action))
    .bind(cut(&target))
    .bind(tenant.as_ref().map(Name::as_str))
    .bind(cut(&detail))
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
