//! The embedded engine: SQLite, with one file for each tenant's truth and one for the system
//! store. A truth can also be in memory, for a tenant that is gone in a moment.
//!
//! Every write of the truth is one transaction on the single writing connection. It runs on its
//! own task, so a caller that goes away does not interrupt it. Every read is one statement or one
//! transaction on one of a few reading connections, so it sees whole commits only, and trimming
//! does not get between its parts.
//!
//! `write` is the transaction, and `commits` gives it its position and chain value. `collections`,
//! `documents` with their `versions`, `changes` (the log), `statistics` and `idempotency` are the
//! tables; `last_changes` outlives the
//! log, and so do `invalidations`; `set_aside` marks versions that cannot be indexed; `model_change` says whose vectors and
//! chunks count; `trim` forgets history, and `backlog`
//! bounds it; `quota` bounds what a tenant has; `system` is the system store.
//!
//! An acknowledged write survives `kill -9` and a power loss: the write-ahead log is flushed
//! at every commit (`synchronous=FULL`). Out of scope: what is derived from the truth, and when
//! to trim.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Semaphore, watch};
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use crate::data_folder::database_file;
use crate::{
    Change, Collection, Committed, Document, IdempotencyKey, KeptStatistics, LastChanges, Limits,
    Model, NewDocument, News, Past, Quota, SetAsides, Truth, TruthError, TruthId, TruthSecret,
};

use self::backlog::Backlog;
pub(crate) use self::system::SqliteSystem;

mod backlog;
mod changes;
mod collections;
mod commits;
mod documents;
mod idempotency;
mod invalidations;
mod last_changes;
mod model_change;
mod quota;
mod set_aside;
mod statistics;
mod system;
#[cfg(test)]
mod tests;
mod trim;
mod versions;
mod write;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/truth");

const TRUTH_FILE: &str = "truth.sqlite";
/// Reading connections. Each has its own thread.
const READERS: u32 = 4;
/// How many writes can wait for the writing connection, including the running one.
const MAX_WRITES_WAITING: usize = 256;
/// How long a caller waits for a connection, and SQLite for its own locks.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A tenant's truth in a SQLite file.
pub(crate) struct SqliteTruth {
    shared: Arc<Shared>,
}

/// What a write keeps alive when its caller goes away.
struct Shared {
    writer: SqlitePool,
    readers: SqlitePool,
    writes_waiting: Arc<Semaphore>,
    id: TruthId,
    secret: TruthSecret,
    committed: watch::Sender<Commit>,
    /// Whether the last write that was tried did not fail.
    writable: AtomicBool,
    backlog: Backlog,
    quota: Quota,
}

impl SqliteTruth {
    /// Opens the truth in `folder`, and creates or migrates its file if needed.
    pub(crate) async fn open(folder: &Path, limits: Limits) -> Result<Self, TruthError> {
        let file = database_file(folder, TRUTH_FILE)?;
        let options = options(&file);
        let writer = open_writer(&file, options.clone()).await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        Self::of(writer, readers, limits).await
    }

    /// An empty truth that is gone when it is closed.
    pub(crate) async fn in_memory(limits: Limits) -> Result<Self, TruthError> {
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            // Otherwise whoever knows the name of the database could open it, and reads could find it locked.
            .shared_cache(false)
            .foreign_keys(true);
        // The database is its connection, so there is one, and reads wait for writes.
        let only = pool(1).connect_with(options).await?;
        MIGRATIONS.run(&only).await?;
        Self::of(only.clone(), only, limits).await
    }

    async fn of(
        writer: SqlitePool,
        readers: SqlitePool,
        limits: Limits,
    ) -> Result<Self, TruthError> {
        let (id, secret): (Vec<u8>, Vec<u8>) =
            sqlx::query_as("SELECT id, secret FROM truth").fetch_one(&readers).await?;
        let id = id.try_into().map_err(|_| damaged("the id is not 16 bytes"))?;
        let secret = secret.try_into().map_err(|_| damaged("the secret is not 32 bytes"))?;
        let head = commits::head(&mut *readers.acquire().await?).await?;
        let backlog = Backlog::measure(&readers, limits.max_backlog_bytes).await?;
        let shared = Shared {
            writer,
            readers,
            writes_waiting: Arc::new(Semaphore::new(MAX_WRITES_WAITING)),
            id: TruthId(id),
            secret: TruthSecret(secret),
            committed: watch::Sender::new(head),
            writable: AtomicBool::new(true),
            backlog,
            quota: limits.quota,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// Each operation is implemented in its table's module.
#[async_trait]
impl Truth for SqliteTruth {
    fn id(&self) -> TruthId {
        self.shared.id
    }

    fn secret(&self) -> TruthSecret {
        self.shared.secret
    }

    async fn head(&self) -> Result<Commit, TruthError> {
        commits::head(&mut *self.shared.readers.acquire().await?).await
    }

    fn committed(&self) -> watch::Receiver<Commit> {
        self.shared.committed.subscribe()
    }

    fn is_writable(&self) -> bool {
        self.shared.writable.load(Ordering::Relaxed)
    }

    async fn history(&self, position: Position) -> Result<Past, TruthError> {
        self.read_history(position).await
    }

    async fn trimmed(&self) -> Result<Commit, TruthError> {
        commits::trimmed(&mut *self.shared.readers.acquire().await?).await
    }

    async fn news(&self, after: Position) -> Result<News, TruthError> {
        self.read_news(after).await
    }

    async fn log(
        &self,
        collection: &Name,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Change>, TruthError> {
        self.read_log(collection, after, limit).await
    }

    async fn last_changes(&self) -> Result<LastChanges, TruthError> {
        self.read_last_changes().await
    }

    async fn documents_at(
        &self,
        collection: &Name,
        ids: &[DocumentId],
        at: Position,
    ) -> Result<Vec<Document>, TruthError> {
        self.read_documents_at(collection, ids, at).await
    }

    async fn scan(
        &self,
        collection: &Name,
        at: Position,
        after: Option<&DocumentId>,
        limit: u32,
    ) -> Result<Option<Vec<Document>>, TruthError> {
        self.read_page_at(collection, at, after, limit).await
    }

    async fn collections_at(&self, at: Position) -> Result<Vec<Name>, TruthError> {
        self.read_collections_at(at).await
    }

    async fn keep_statistics(
        &self,
        collection: &Name,
        statistics: KeptStatistics,
    ) -> Result<(), TruthError> {
        self.insert_statistics(collection.clone(), statistics).await
    }

    async fn statistics_at(
        &self,
        collection: &Name,
        at: Position,
    ) -> Result<Option<KeptStatistics>, TruthError> {
        self.read_statistics_at(collection, at).await
    }

    async fn trim(&self, to: Position) -> Result<Commit, TruthError> {
        self.trim_to(to).await
    }

    fn backlog_bytes(&self) -> u64 {
        self.shared.backlog.bytes()
    }

    async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Commit>), TruthError> {
        self.insert_collection(name.clone()).await
    }

    async fn drop_collection(&self, name: &Name) -> Result<Option<Commit>, TruthError> {
        self.mark_dropped(name.clone()).await
    }

    async fn collection(&self, name: &Name) -> Result<(Option<Collection>, Commit), TruthError> {
        self.read_collection(name).await
    }

    async fn collections(&self) -> Result<(Vec<Collection>, Commit), TruthError> {
        self.read_collections().await
    }

    async fn put(
        &self,
        collection: &Name,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
    ) -> Result<Committed, TruthError> {
        self.put_documents(collection.clone(), documents, key).await
    }

    async fn delete(
        &self,
        collection: &Name,
        ids: Vec<DocumentId>,
    ) -> Result<Option<Commit>, TruthError> {
        self.delete_documents(collection.clone(), ids).await
    }

    async fn replay(&self, key: &IdempotencyKey) -> Result<Option<Committed>, TruthError> {
        self.find_replay(key).await
    }

    async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<(Option<Document>, Commit), TruthError> {
        self.read_document(collection, id).await
    }

    async fn set_aside(
        &self,
        collection: &Name,
        id: &DocumentId,
        version: Position,
        reason: &str,
    ) -> Result<Commit, TruthError> {
        self.mark_set_aside(collection.clone(), id.clone(), version, reason.to_owned()).await
    }

    async fn documents_set_aside(&self, limit: u32) -> Result<SetAsides, TruthError> {
        self.read_set_aside(limit).await
    }

    async fn model(&self) -> Result<Option<Model>, TruthError> {
        self.read_model().await
    }

    async fn change_model(&self, digest: &str) -> Result<Commit, TruthError> {
        self.set_model(digest.to_owned()).await
    }

    async fn invalidate(&self, what: &str, is_soft: bool) -> Result<Commit, TruthError> {
        self.insert_invalidation(what.to_owned(), is_soft).await
    }

    async fn close(&self) {
        self.shared.writer.close().await;
        self.shared.readers.close().await;
    }
}

impl std::fmt::Debug for SqliteTruth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTruth")
            .field("committed", &*self.shared.committed.borrow())
            .finish_non_exhaustive()
    }
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(CONNECTION_TIMEOUT)
}

async fn open_writer(file: &Path, options: SqliteConnectOptions) -> Result<SqlitePool, TruthError> {
    pool(1).connect_with(options).await.map_err(|error| not_writable(file, error))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTION_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file never disconnects.
        .test_before_acquire(false)
        // If a disk is full, SQLite itself ends a transaction, and sqlx believes that it goes on. No
        // write could begin on such a connection, and reads would see one state forever.
        .before_acquire(|connection, _| {
            let is_usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_usable) })
        })
}

/// SQLite's errors for a file that cannot be written, with the file's name.
fn not_writable(file: &Path, error: sqlx::Error) -> TruthError {
    const READ_ONLY: i32 = 8;
    const CANNOT_OPEN: i32 = 14;
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok());
    // The low byte is the error; the rest is detail.
    match code.map(|code| code & 0xff) {
        Some(READ_ONLY | CANNOT_OPEN) => {
            TruthError::ReadOnly { path: file.display().to_string(), reason: error.to_string() }
        }
        _ => error.into(),
    }
}

/// A position as SQLite stores it.
fn stored(position: Position) -> i64 {
    // The counter grows by one per commit and never reaches 2^63. A larger number from a caller
    // is after every existing position, and the clamp keeps it so.
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// A stored value that Weir cannot have written.
fn damaged(error: impl Into<sqlx::error::BoxDynError>) -> TruthError {
    sqlx::Error::Decode(error.into()).into()
}

impl From<sqlx::Error> for TruthError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Overloaded,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<MigrateError> for TruthError {
    fn from(error: MigrateError) -> Self {
        Self::Migration(error.into())
    }
}
