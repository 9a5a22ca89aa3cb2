//! The embedded truth: SQLite, one file a tenant.
//!
//! Every write is one transaction on the one writing connection, in a task of its own that
//! a caller who goes away does not cut; every read is one statement on one of a few
//! reading connections, and so sees whole commits only. `collections`, `documents`,
//! `changes` and `idempotency` are the tables; `write` is the transaction; `folder` keeps
//! other processes out.
//!
//! An acknowledged write survives `kill -9` and a power loss: the write-ahead log is
//! flushed at every commit (`synchronous=FULL`). Left out: what is derived from the truth,
//! and any compaction of the log of changes, which has a line for each document of each
//! commit that changed it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Semaphore, watch};

pub use self::documents::MAX_DOCUMENTS_PER_PUT;
use self::folder::FolderLock;
use self::write::Observer;
use super::{Change, SqlError};
use crate::Position;

mod changes;
mod collections;
mod documents;
mod folder;
mod idempotency;
#[cfg(test)]
mod tests;
mod write;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections that read. Each has a thread of its own.
const READERS: u32 = 4;
/// Writes that may wait for the writing connection, the running one included.
const MAX_WRITES_WAITING: usize = 256;
/// How long a caller waits for a connection, and SQLite for its own locks.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A tenant's truth in a SQLite file. It holds the data folder until it is dropped.
pub struct SqliteTruth {
    writer: SqlitePool,
    readers: SqlitePool,
    writes_waiting: Arc<Semaphore>,
    committed: watch::Sender<Position>,
    observer: OnceLock<Observer>,
    _lock: FolderLock,
}

impl SqliteTruth {
    /// Opens the truth below `data_folder`, making or migrating what has to be.
    pub async fn open(data_folder: &Path) -> Result<Arc<Self>, SqlError> {
        let lock = FolderLock::acquire(data_folder)?;
        let file = folder::truth_file(data_folder)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(CONNECTION_TIMEOUT);
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| not_writable(&file, error))?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        let position = read_position(&readers).await?;
        Ok(Arc::new(Self {
            writer,
            readers,
            writes_waiting: Arc::new(Semaphore::new(MAX_WRITES_WAITING)),
            committed: watch::Sender::new(position),
            observer: OnceLock::new(),
            _lock: lock,
        }))
    }

    /// The position of the last commit.
    pub async fn position(&self) -> Result<Position, SqlError> {
        read_position(&self.readers).await
    }

    /// Follows the position of the last commit, whoever made it and whether or not its
    /// caller is still there.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Position> {
        self.committed.subscribe()
    }

    /// Sets who is told of every commit from now on: once for each, in the order of
    /// positions, before the writer is told, and also when the writer has gone away. It
    /// must be quick and must not block: the next write waits for it. The first observer
    /// stays; the answer says whether this one is it.
    pub fn observe_commits(&self, observer: impl Fn(&[Change]) + Send + Sync + 'static) -> bool {
        self.observer.set(Box::new(observer)).is_ok()
    }

    /// Lets writes that have begun end, and closes the file. Later calls fail.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

impl std::fmt::Debug for SqliteTruth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTruth")
            .field("committed", &*self.committed.borrow())
            .finish_non_exhaustive()
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTION_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file cannot hang up.
        .test_before_acquire(false)
}

async fn read_position(readers: &SqlitePool) -> Result<Position, SqlError> {
    let position = sqlx::query_scalar("SELECT position FROM counter").fetch_one(readers).await?;
    Ok(Position(position))
}

/// SQLite's ways to say that it may not write, with the file's name.
fn not_writable(file: &Path, error: sqlx::Error) -> SqlError {
    const READ_ONLY: i32 = 8;
    const CANNOT_OPEN: i32 = 14;
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok());
    // The low byte is the error, the rest its details.
    match code.map(|code| code & 0xff) {
        Some(READ_ONLY | CANNOT_OPEN) => {
            SqlError::ReadOnly { path: file.display().to_string(), reason: error.to_string() }
        }
        _ => error.into(),
    }
}

/// A position as SQLite keeps it.
fn stored(position: Position) -> i64 {
    // The counter grows by one a commit: 2^63 is not reached. A caller's own larger
    // number is after every position there is, which this keeps.
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// A stored value that Weir cannot have written.
fn damaged(error: impl Into<sqlx::error::BoxDynError>) -> SqlError {
    SqlError::Failed(sqlx::Error::Decode(error.into()))
}
