//! The system store in a SQLite file.
//!
//! Calls are rare, so there is one connection. Every write is one transaction in a task of its own,
//! which a caller that goes away does not interrupt. `revision` is the counter, and `deployments`,
//! `plugins`, `tokens` and `audit` are the tables.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Semaphore;
use weir_core::crash::{self, Point};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use super::{damaged, open_writer, options};
use crate::data_folder::database_file;
use crate::system::{
    AuditEntry, AuditPage, AuditRecord, Deployment, Expected, HistoryEntry, Role, SystemError,
    Token, TokenError, TokenId, UploadedPlugin,
};
use crate::{SystemStore, TruthError};

mod audit;
mod deployments;
mod plugins;
mod revision;
#[cfg(test)]
mod tests;
mod tokens;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/system");

const SYSTEM_FILE: &str = "system.sqlite";
/// How many writes can wait for the connection, including the running one.
const MAX_WRITES_WAITING: usize = 256;

/// The system store in a SQLite file.
pub(crate) struct SqliteSystem {
    pool: SqlitePool,
    writes_waiting: Arc<Semaphore>,
}

impl SqliteSystem {
    /// Opens the store in `folder`, and creates or migrates its file if needed.
    pub(crate) async fn open(folder: &Path) -> Result<Self, TruthError> {
        let file = database_file(folder, SYSTEM_FILE)?;
        let pool = open_writer(&file, options(&file)).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { pool, writes_waiting: Arc::new(Semaphore::new(MAX_WRITES_WAITING)) })
    }

    /// Does `work` in one transaction in its own task: once started it finishes, even if the
    /// caller stops waiting. An error from `work` rolls everything back.
    async fn write<T, E, W>(&self, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<TruthError> + Send + 'static,
        W: for<'w> FnOnce(&'w mut SqliteConnection) -> BoxFuture<'w, Result<T, E>> + Send + 'static,
    {
        let permit = Arc::clone(&self.writes_waiting)
            .try_acquire_owned()
            .map_err(|_| TruthError::Overloaded)?;
        let pool = self.pool.clone();
        let task = tokio::spawn(async move {
            let _permit = permit;
            transact(&pool, work).await
        });
        task.await.unwrap_or_else(|cut| Err(TruthError::Cut(cut.to_string()).into()))
    }
}

async fn transact<T, E, W>(pool: &SqlitePool, work: W) -> Result<T, E>
where
    E: From<TruthError>,
    W: for<'w> FnOnce(&'w mut SqliteConnection) -> BoxFuture<'w, Result<T, E>>,
{
    let mut connection = pool.acquire().await.map_err(TruthError::from)?;
    // The lock is taken here, so what is read next stays true until the commit.
    let begun = connection.begin_with("BEGIN IMMEDIATE").await;
    let mut transaction = begun.map_err(TruthError::from)?;
    let done = work(&mut transaction).await?;
    crash::at(Point::BeforeSystemCommit);
    transaction.commit().await.map_err(TruthError::from)?;
    crash::at(Point::AfterSystemCommit);
    Ok(done)
}

/// Each operation is implemented in its table's module.
#[async_trait]
impl SystemStore for SqliteSystem {
    async fn add_plugin(&self, plugin: UploadedPlugin) -> Result<bool, SystemError> {
        self.insert_plugin(plugin).await
    }

    async fn plugin(&self, digest: PluginDigest) -> Result<Option<UploadedPlugin>, TruthError> {
        self.read_plugin(digest).await
    }

    async fn plugins(&self) -> Result<Vec<UploadedPlugin>, TruthError> {
        self.read_plugins().await
    }

    async fn remove_plugin(&self, digest: PluginDigest) -> Result<bool, TruthError> {
        self.delete_plugin(digest).await
    }

    async fn deploy(
        &self,
        role: Role,
        name: &Name,
        spec: &str,
        expected: Expected,
        by: &str,
    ) -> Result<u64, SystemError> {
        self.insert_deployment((role, name.clone()), spec, expected, by).await
    }

    async fn undeploy(
        &self,
        role: Role,
        name: &Name,
        expected: Expected,
        by: &str,
    ) -> Result<Option<u64>, SystemError> {
        self.insert_removal((role, name.clone()), expected, by).await
    }

    async fn deployment(&self, role: Role, name: &Name) -> Result<Option<Deployment>, TruthError> {
        self.read_deployment(role, name).await
    }

    async fn deployed(&self) -> Result<(Vec<Deployment>, u64), TruthError> {
        self.read_deployed().await
    }

    async fn history(
        &self,
        role: Role,
        name: &Name,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, TruthError> {
        self.read_history(role, name, limit).await
    }

    async fn previous(&self, role: Role, name: &Name) -> Result<Option<Deployment>, TruthError> {
        self.read_previous(role, name).await
    }

    async fn append_audit(&self, record: AuditRecord) -> Result<u64, TruthError> {
        self.insert_audit(record).await
    }

    async fn audit(&self, page: AuditPage) -> Result<Vec<AuditEntry>, TruthError> {
        self.read_audit(page).await
    }

    async fn add_token(&self, token: Token, audit: AuditRecord) -> Result<(), TokenError> {
        self.insert_token(token, audit).await
    }

    async fn revoke_token(&self, id: TokenId, audit: AuditRecord) -> Result<bool, TruthError> {
        self.end_token(id, audit).await
    }

    async fn note_use(&self, id: TokenId, unix_ms: u64) -> Result<(), TruthError> {
        self.update_use(id, unix_ms).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, TruthError> {
        self.read_tokens().await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// A count, a size, a time or a revision as SQLite stores it. None of them reaches 2^63.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<sqlx::Error> for SystemError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for TokenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
