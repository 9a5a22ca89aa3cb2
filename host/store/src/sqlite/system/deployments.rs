//! Deployments: what is current is decided, compared with what the caller expects, and changed in
//! one transaction.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use weir_core::name::Name;

use super::{SqliteSystem, damaged, revision, stored};
use crate::TruthError;
use crate::sqlite::commits::now_ms;
use crate::system::{
    Deployment, Expected, HistoryEntry, KEPT_HISTORY, MAX_DEPLOYMENTS, MAX_SPEC_BYTES, Role,
    SystemError, check_length, cut,
};

/// What something is deployed as.
type Place = (Role, Name);

impl SqliteSystem {
    pub(super) async fn insert_deployment(
        &self,
        place: Place,
        spec: &str,
        expected: Expected,
        by: &str,
    ) -> Result<u64, SystemError> {
        check_length("the deployment", spec, MAX_SPEC_BYTES)?;
        let (spec, by) = (spec.to_owned(), cut(by).to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                expected.check(current(connection, &place).await?)?;
                make_room(connection, &place, MAX_DEPLOYMENTS).await?;
                Ok(append(connection, &place, Some(&spec), &by).await?)
            })
        })
        .await
    }

    pub(super) async fn insert_removal(
        &self,
        place: Place,
        expected: Expected,
        by: &str,
    ) -> Result<Option<u64>, SystemError> {
        let by = cut(by).to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                let current = current(connection, &place).await?;
                expected.check(current)?;
                match current {
                    None => Ok(None),
                    Some(_) => Ok(Some(append(connection, &place, None, &by).await?)),
                }
            })
        })
        .await
    }

    pub(super) async fn read_deployment(
        &self,
        role: Role,
        name: &Name,
    ) -> Result<Option<Deployment>, TruthError> {
        let row = sqlx::query(
            "SELECT * FROM
               (SELECT * FROM deployments WHERE role = ? AND name = ? ORDER BY revision DESC LIMIT 1)
             WHERE spec IS NOT NULL",
        )
        .bind(role.as_str())
        .bind(name.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(deployment).transpose()
    }

    /// In one transaction, so that the revision is that of what is read.
    pub(super) async fn read_deployed(&self) -> Result<(Vec<Deployment>, u64), TruthError> {
        let mut read = self.pool.begin().await?;
        let rows = sqlx::query(
            "SELECT * FROM deployments
             WHERE revision IN (SELECT max(revision) FROM deployments GROUP BY role, name)
               AND spec IS NOT NULL
             ORDER BY role, name",
        )
        .fetch_all(&mut *read)
        .await?;
        let last = revision::last(&mut read).await?;
        Ok((rows.iter().map(deployment).collect::<Result<_, _>>()?, last))
    }

    pub(super) async fn read_history(
        &self,
        role: Role,
        name: &Name,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, TruthError> {
        let rows: Vec<(u64, Option<String>, String, u64)> = sqlx::query_as(
            "SELECT revision, spec, by, unix_ms FROM deployments WHERE role = ? AND name = ?
             ORDER BY revision DESC LIMIT ?",
        )
        .bind(role.as_str())
        .bind(name.as_str())
        .bind(limit.min(KEPT_HISTORY))
        .fetch_all(&self.pool)
        .await?;
        let entry = |(revision, spec, by, unix_ms)| HistoryEntry { revision, spec, by, unix_ms };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Older than the newest, which is the current one or its removal, whose spec is NULL.
    pub(super) async fn read_previous(
        &self,
        role: Role,
        name: &Name,
    ) -> Result<Option<Deployment>, TruthError> {
        let row = sqlx::query(
            "SELECT older.* FROM deployments AS older,
               (SELECT revision, spec FROM deployments WHERE role = ?1 AND name = ?2
                ORDER BY revision DESC LIMIT 1) AS newest
             WHERE older.role = ?1 AND older.name = ?2 AND older.revision < newest.revision
               AND older.spec IS NOT NULL AND older.spec IS NOT newest.spec
             ORDER BY older.revision DESC LIMIT 1",
        )
        .bind(role.as_str())
        .bind(name.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(deployment).transpose()
    }
}

/// The revision of what is deployed, if anything is.
async fn current(
    connection: &mut SqliteConnection,
    (role, name): &Place,
) -> Result<Option<u64>, TruthError> {
    let newest: Option<(u64, bool)> = sqlx::query_as(
        "SELECT revision, spec IS NOT NULL FROM deployments WHERE role = ? AND name = ?
         ORDER BY revision DESC LIMIT 1",
    )
    .bind(role.as_str())
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(newest.and_then(|(revision, is_deployed)| is_deployed.then_some(revision)))
}

/// Takes the next revision for a deployment or, without a spec, a removal, and forgets the oldest.
async fn append(
    connection: &mut SqliteConnection,
    (role, name): &Place,
    spec: Option<&str>,
    by: &str,
) -> Result<u64, TruthError> {
    let revision = revision::next(connection).await?;
    sqlx::query(
        "INSERT INTO deployments (revision, role, name, spec, by, unix_ms)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(stored(revision))
    .bind(role.as_str())
    .bind(name.as_str())
    .bind(spec)
    .bind(by)
    .bind(now_ms())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM deployments WHERE role = ?1 AND name = ?2 AND revision <=
           (SELECT revision FROM deployments WHERE role = ?1 AND name = ?2
            ORDER BY revision DESC LIMIT 1 OFFSET ?3)",
    )
    .bind(role.as_str())
    .bind(name.as_str())
    .bind(KEPT_HISTORY)
    .execute(connection)
    .await?;
    Ok(revision)
}

/// Sees to it that a new name is not one more than `limit`: if need be, by forgetting the one that
/// was removed first.
pub(super) async fn make_room(
    connection: &mut SqliteConnection,
    (role, name): &Place,
    limit: u32,
) -> Result<(), SystemError> {
    let others: u32 = sqlx::query_scalar(
        "SELECT count(*) FROM
           (SELECT DISTINCT role, name FROM deployments WHERE NOT (role = ? AND name = ?))",
    )
    .bind(role.as_str())
    .bind(name.as_str())
    .fetch_one(&mut *connection)
    .await?;
    if others < limit {
        return Ok(());
    }
    let removed_first: Option<(String, String)> = sqlx::query_as(
        "SELECT role, name FROM deployments
         WHERE revision IN (SELECT max(revision) FROM deployments GROUP BY role, name)
           AND spec IS NULL AND NOT (role = ? AND name = ?)
         ORDER BY revision LIMIT 1",
    )
    .bind(role.as_str())
    .bind(name.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some((role, name)) = removed_first else {
        return Err(SystemError::TooManyDeployments { limit });
    };
    sqlx::query("DELETE FROM deployments WHERE role = ? AND name = ?")
        .bind(role)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

fn deployment(row: &SqliteRow) -> Result<Deployment, TruthError> {
    let (role, name): (&str, &str) = (row.try_get("role")?, row.try_get("name")?);
    Ok(Deployment {
        role: role.parse().map_err(damaged)?,
        name: Name::new(name).map_err(damaged)?,
        revision: row.try_get("revision")?,
        spec: row.try_get("spec")?,
        by: row.try_get("by")?,
        unix_ms: row.try_get("unix_ms")?,
    })
}
