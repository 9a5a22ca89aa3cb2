//! The embedded engine: SQLite, with one file for each tenant's truth and one for the system
//! store.
//!
//! Every write of the truth is one transaction on the single writing connection. It runs on its
//! own task, so a caller that goes away does not interrupt it. Every read is one statement on
//! one of a few reading connections, so it sees whole commits only. `collections`, `documents`,
//! `changes` and `idempotency` are the tables; `write` is the transaction; `system` is the
//! system store.
//!
//! An acknowledged write survives `kill -9` and a power loss: the write-ahead log is flushed
//! at every commit (`synchronous=FULL`). Out of scope: what is derived from the truth, and
//! compaction of the log of changes, which has a line for each document of each commit that
//! changed it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Semaphore, watch};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use crate::data_folder::database_file;
use crate::{
    Change, Collection, CommitObserver, Committed, Document, IdempotencyKey, NewDocument, Truth,
    TruthError,
};

pub(crate) use self::system::SqliteSystem;

mod changes;
mod collections;
mod documents;
mod idempotency;
mod system;
#[cfg(test)]
mod tests;
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
    committed: watch::Sender<Position>,
    observer: OnceLock<CommitObserver>,
}

impl SqliteTruth {
    /// Opens the truth in `folder`, and creates or migrates its file if needed.
    pub(crate) async fn open(folder: &Path) -> Result<Self, TruthError> {
        let file = database_file(folder, TRUTH_FILE)?;
        let options = options(&file);
        let writer = open_writer(&file, options.clone()).await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        let position = read_position(&readers).await?;
        let shared = Shared {
            writer,
            readers,
            writes_waiting: Arc::new(Semaphore::new(MAX_WRITES_WAITING)),
            committed: watch::Sender::new(position),
            observer: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// Each operation is implemented in its table's module.
#[async_trait]
impl Truth for SqliteTruth {
    async fn position(&self) -> Result<Position, TruthError> {
        read_position(&self.shared.readers).await
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.shared.committed.subscribe()
    }

    fn observe_commits(&self, observer: CommitObserver) -> bool {
        self.shared.observer.set(observer).is_ok()
    }

    async fn changes_after(&self, after: Position, limit: u32) -> Result<Vec<Change>, TruthError> {
        self.read_changes(after, limit).await
    }

    async fn create_collection(
        &self,
        name: &Name,
    ) -> Result<(Collection, Option<Position>), TruthError> {
        self.insert_collection(name.clone()).await
    }

    async fn drop_collection(&self, name: &Name) -> Result<Option<Position>, TruthError> {
        self.delete_collection(name.clone()).await
    }

    async fn collection(&self, name: &Name) -> Result<Option<Collection>, TruthError> {
        self.read_collection(name).await
    }

    async fn collections(&self) -> Result<Vec<Collection>, TruthError> {
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
    ) -> Result<Option<Position>, TruthError> {
        self.delete_documents(collection.clone(), ids).await
    }

    async fn replay(&self, key: &IdempotencyKey) -> Result<Option<Committed>, TruthError> {
        self.find_replay(key).await
    }

    async fn document(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<Option<Document>, TruthError> {
        self.read_document(collection, id).await
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
}

async fn read_position(readers: &SqlitePool) -> Result<Position, TruthError> {
    let position = sqlx::query_scalar("SELECT position FROM counter").fetch_one(readers).await?;
    Ok(Position(position))
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
