//! The index on disk: one SQLite file, read once at startup (see `load`) and written in one
//! transaction per page.
//!
//! The file is derived data. A file made with another truth, model, analysis or format is removed,
//! and a damaged one is moved aside; the catch-up then fills a new one from the truth. The parts
//! that a collection has in memory are not kept: it is read into one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};

use crate::{Content, IndexedDocument, VectorError};
use weir_core::crash::{self, Point};
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use super::codec::encode_chunks;
use super::collection::State;
use super::load::{LoadError, Origin, read};

/// The index.
pub(super) const INDEX: &str = "vectors.sqlite";
/// The index for the next model, while it is being built.
pub(super) const NEXT: &str = "vectors-next.sqlite";

#[derive(Debug)]
pub(super) struct IndexFile {
    path: PathBuf,
    /// `None` after a failure. When a disk is full, SQLite itself ends the transaction; sqlx would
    /// believe that it goes on, and no later one could begin.
    connection: Option<SqliteConnection>,
}

/// A page as it is written.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) collection: Name,
    pub(super) last: Commit,
    /// Whether all that the file has of the collection is removed first.
    pub(super) replaced: bool,
    pub(super) existence: Existence,
    pub(super) documents: Vec<(DocumentId, Option<Row>)>,
}

/// What a collection is after a page.
#[derive(Debug)]
pub(super) enum Existence {
    /// It does not exist.
    Gone,
    /// It existed, and keeps its statistics.
    Kept,
    /// It exists with these encoded statistics.
    With(Vec<u8>),
}

/// A document as it is written.
#[derive(Debug)]
pub(super) struct Row {
    version: Position,
    content: Arc<Content>,
    chunks: Vec<u8>,
}

impl Row {
    pub(super) fn new(document: &IndexedDocument) -> Self {
        let chunks = encode_chunks(&document.chunks);
        Self { version: document.version, content: Arc::clone(&document.content), chunks }
    }
}

impl IndexFile {
    /// Reads the index in `folder` that has this file name, or creates an empty one.
    pub(super) async fn open(
        folder: &Path,
        name: &str,
        origin: Origin<'_>,
    ) -> Result<(Self, State), VectorError> {
        let path = folder.join(name);
        let failed = |error: &dyn std::fmt::Display| {
            VectorError::Failed(format!("{} cannot be used: {error}", path.display()))
        };
        match load(&path, origin).await {
            Ok(loaded) => return Ok(loaded),
            Err(error @ LoadError::Outdated(_)) => {
                tracing::info!(path = %path.display(), reason = %error, "the index is rebuilt");
                remove(&path).map_err(|error| failed(&error))?;
            }
            Err(error) if error.is_damage() => {
                let aside = beside(&path, ".damaged");
                tracing::warn!(path = %path.display(), aside = %aside.display(), %error, "the index is damaged: it is moved aside and rebuilt");
                std::fs::rename(&path, &aside).map_err(|error| failed(&error))?;
                remove(&path).map_err(|error| failed(&error))?;
            }
            Err(error) => return Err(failed(&error)),
        }
        load(&path, origin).await.map_err(|error| failed(&error))
    }

    /// Makes a page durable. If that fails, the file may have the page or not, and it can be applied
    /// again.
    pub(super) async fn apply(&mut self, change: Change) -> sqlx::Result<()> {
        let mut connection = self.connected().await?;
        let done = apply(&mut connection, change).await;
        self.keep_if(connection, done).await
    }

    /// Records `commit` durably, and forgets collections that do not exist since a line up to it.
    pub(super) async fn complete(&mut self, commit: Commit) -> sqlx::Result<()> {
        let mut connection = self.connected().await?;
        let done = complete(&mut connection, commit).await;
        self.keep_if(connection, done).await
    }

    /// Removes everything durably.
    pub(super) async fn clear(&mut self) -> sqlx::Result<()> {
        let mut connection = self.connected().await?;
        let done = clear(&mut connection).await;
        self.keep_if(connection, done).await
    }

    async fn connected(&mut self) -> sqlx::Result<SqliteConnection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(&self.path, Missing::Refused).await,
        }
    }

    async fn keep_if(
        &mut self,
        connection: SqliteConnection,
        done: sqlx::Result<()>,
    ) -> sqlx::Result<()> {
        if done.is_ok() {
            self.connection = Some(connection);
        } else {
            // The failure that matters is that of `done`.
            connection.close().await.ok();
        }
        done
    }
}

async fn apply(connection: &mut SqliteConnection, change: Change) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if change.replaced {
        sqlx::query("DELETE FROM documents WHERE collection = ?")
            .bind(change.collection.as_str())
            .execute(&mut *transaction)
            .await?;
    }
    let statistics = match change.existence {
        Existence::Kept => None,
        Existence::Gone => Some(None),
        Existence::With(statistics) => Some(Some(statistics)),
    };
    let write = if let Some(statistics) = statistics {
        sqlx::query(
            "REPLACE INTO collections (statistics, position, chain, name) VALUES (?, ?, ?, ?)",
        )
        .bind(statistics)
    } else {
        sqlx::query("UPDATE collections SET position = ?, chain = ? WHERE name = ?")
    };
    let written = write
        .bind(change.last.position.0.cast_signed())
        .bind(i64::from(change.last.chain.0))
        .bind(change.collection.as_str())
        .execute(&mut *transaction)
        .await?;
    if written.rows_affected() != 1 {
        return Err(sqlx::Error::RowNotFound);
    }
    for (id, document) in change.documents {
        write_document(&mut transaction, &change.collection, &id, document).await?;
    }
    crash::at(Point::BeforePage);
    transaction.commit().await?;
    crash::at(Point::AfterPage);
    Ok(())
}

async fn complete(connection: &mut SqliteConnection, commit: Commit) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let position = commit.position.0.cast_signed();
    sqlx::query("UPDATE header SET position = ?, chain = ?")
        .bind(position)
        .bind(i64::from(commit.chain.0))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM collections WHERE statistics IS NULL AND position <= ?")
        .bind(position)
        .execute(&mut *transaction)
        .await?;
    crash::at(Point::BeforeComplete);
    transaction.commit().await?;
    crash::at(Point::AfterComplete);
    Ok(())
}

async fn clear(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for delete in [
        "DELETE FROM documents",
        "DELETE FROM collections",
        "UPDATE header SET position = 0, chain = 0",
    ] {
        sqlx::query(delete).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn write_document(
    connection: &mut SqliteConnection,
    collection: &Name,
    id: &DocumentId,
    document: Option<Row>,
) -> sqlx::Result<()> {
    let write = if let Some(Row { version, content, chunks }) = document {
        sqlx::query("REPLACE INTO documents (version, text, metadata, chunks, collection, id) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(version.0.cast_signed())
            .bind(Arc::clone(&content.text))
            .bind(Arc::clone(&content.metadata))
            .bind(chunks)
    } else {
        sqlx::query("DELETE FROM documents WHERE collection = ? AND id = ?")
    };
    write.bind(collection.as_str()).bind(id.as_str()).execute(connection).await?;
    Ok(())
}

/// Puts the index that was made for the next model in the place of the other, if it is of the model
/// with this digest. The folder's indexes must not be open.
pub(super) async fn promote(folder: &Path, model_digest: &str) -> Result<(), VectorError> {
    let (path, next) = (folder.join(INDEX), folder.join(NEXT));
    if !next.exists() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        VectorError::Failed(format!("{} cannot be used: {error}", next.display()))
    };
    // One that cannot be read is not worth keeping; it is removed when it is opened.
    let Ok(mut connection) = connect(&next, Missing::Refused).await else {
        return Ok(());
    };
    let made_with: sqlx::Result<String> =
        sqlx::query_scalar("SELECT model_digest FROM header").fetch_one(&mut connection).await;
    if made_with.is_ok_and(|digest| digest == model_digest) {
        // Moves all of it to the file that is renamed.
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        checkpoint.execute(&mut connection).await.map_err(|error| failed(&error))?;
        connection.close().await.map_err(|error| failed(&error))?;
        remove(&path).map_err(|error| failed(&error))?;
        crash::at(Point::BeforePromotion);
        std::fs::rename(&next, &path).map_err(|error| failed(&error))?;
        crash::at(Point::AfterPromotion);
        tracing::info!(path = %path.display(), "the index of the new model takes the old one's place");
    } else {
        connection.close().await.ok();
    }
    Ok(())
}

async fn load(path: &Path, origin: Origin<'_>) -> Result<(IndexFile, State), LoadError> {
    let mut connection = connect(path, Missing::Created).await?;
    match read(&mut connection, origin).await {
        Ok(loaded) => {
            Ok((IndexFile { path: path.to_owned(), connection: Some(connection) }, loaded))
        }
        Err(error) => {
            // The caller may move the file next.
            connection.close().await.ok();
            Err(error)
        }
    }
}

/// What happens if there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Created,
    Refused,
}

async fn connect(path: &Path, missing: Missing) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(missing == Missing::Created)
        .journal_mode(SqliteJournalMode::Wal)
        // A power failure must not undo what a search has returned.
        .synchronous(SqliteSynchronous::Full);
    SqliteConnection::connect_with(&options).await
}

/// Removes the file and the files that SQLite keeps next to it.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
