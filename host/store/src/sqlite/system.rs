//! The system store's tables.

use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqlitePool;

use super::{damaged, open_writer, options};
use crate::data_folder::database_file;
use crate::{SystemStore, TruthError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/system");

const SYSTEM_FILE: &str = "system.sqlite";

/// The system store in a SQLite file, on one connection because calls are rare.
pub(crate) struct SqliteSystem {
    pool: SqlitePool,
}

impl SqliteSystem {
    /// Opens the store in `folder`, and creates or migrates its file if needed.
    pub(crate) async fn open(folder: &Path) -> Result<Self, TruthError> {
        let file = database_file(folder, SYSTEM_FILE)?;
        let pool = open_writer(&file, options(&file)).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl SystemStore for SqliteSystem {
    async fn revision_of(&self, fingerprint: [u8; 32]) -> Result<u64, TruthError> {
        // One statement, so one transaction: the revision moves exactly when the fingerprint does.
        let revision: i64 = sqlx::query_scalar(
            "INSERT INTO deployments (one, fingerprint, revision) VALUES (1, ?, 1)
             ON CONFLICT (one) DO UPDATE SET fingerprint = excluded.fingerprint,
               revision = revision + (fingerprint <> excluded.fingerprint)
             RETURNING revision",
        )
        .bind(fingerprint.as_slice())
        .fetch_one(&self.pool)
        .await?;
        u64::try_from(revision).map_err(damaged)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn a_revision_grows_exactly_when_the_deployments_change() {
        let folder = tempfile::tempdir().unwrap();
        for (fingerprint, expected) in [(1, 1), (1, 1), (2, 2), (2, 2), (1, 3)] {
            // Reopened each time: revisions outlive the process.
            let store = SqliteSystem::open(folder.path()).await.unwrap();
            assert_eq!(store.revision_of([fingerprint; 32]).await.unwrap(), expected);
            store.close().await;
        }
    }
}
