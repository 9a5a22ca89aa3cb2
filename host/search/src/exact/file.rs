//! The index on disk: one SQLite file, read once at startup and written in one transaction per
//! batch.
//!
//! The file is derived data. A file made with another model, analysis or format is removed, and a
//! damaged one is moved aside; the catch-up then fills a new one from the truth.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};
use thiserror::Error;

use crate::{Content, VectorError, keyword};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::batch::{Batch, CollectionChange, check};
use super::codec::{decode_chunks, decode_statistics, encode_chunks, encode_statistics};
use super::index::{Collection, Collections, NewDocument};

const SCHEMA: &str = include_str!("schema.sql");
/// The schema's `user_version`.
const FORMAT: i64 = 2;

/// The model that an index is made with; if it changes, the index is rebuilt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) model_digest: &'a str,
    pub(super) dimensions: usize,
}

#[derive(Debug)]
pub(super) struct IndexFile {
    connection: SqliteConnection,
}

/// An open file and its content.
pub(super) type Loaded = (IndexFile, Position, Collections);

#[derive(Debug, Error)]
enum LoadError {
    #[error("it was made with another model or version")]
    Outdated,
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl IndexFile {
    /// Reads the index in `folder`, or creates an empty one.
    pub(super) async fn open(folder: &Path, origin: Origin<'_>) -> Result<Loaded, VectorError> {
        let path = folder.join("vectors.sqlite");
        let failed = |error: &dyn std::fmt::Display| {
            VectorError::Failed(format!("{} cannot be used: {error}", path.display()))
        };
        match load(&path, origin).await {
            Ok(loaded) => return Ok(loaded),
            Err(LoadError::Outdated) => {
                tracing::info!(path = %path.display(), "the index was built with another model or version and is rebuilt");
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

    /// Makes `batch` and the position `up_to` durable, or changes nothing.
    pub(super) async fn commit(&mut self, batch: &Batch, up_to: Position) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (name, change) in &batch.collections {
            write_collection(&mut transaction, name, change).await?;
        }
        sqlx::query("UPDATE header SET applied = ?")
            .bind(up_to.0.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

async fn write_collection(
    connection: &mut SqliteConnection,
    name: &Name,
    change: &CollectionChange,
) -> sqlx::Result<()> {
    if change.dropped {
        for delete in
            ["DELETE FROM documents WHERE collection = ?", "DELETE FROM collections WHERE name = ?"]
        {
            sqlx::query(delete).bind(name.as_str()).execute(&mut *connection).await?;
        }
    }
    if !change.exists {
        return Ok(());
    }
    let changed_chunks = change.changed_chunks.cast_signed();
    let write = if let Some(statistics) = &change.statistics {
        sqlx::query("REPLACE INTO collections (statistics, changed_chunks, name) VALUES (?, ?, ?)")
            .bind(encode_statistics(statistics))
    } else {
        sqlx::query("UPDATE collections SET changed_chunks = ? WHERE name = ?")
    };
    write.bind(changed_chunks).bind(name.as_str()).execute(&mut *connection).await?;
    for (id, document) in &change.documents {
        let write = if let Some(document) = document {
            sqlx::query("REPLACE INTO documents (version, text, metadata, chunks, collection, id) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(document.version.0.cast_signed())
                .bind(Arc::clone(&document.content.text))
                .bind(Arc::clone(&document.content.metadata))
                .bind(encode_chunks(&document.chunks))
        } else {
            sqlx::query("DELETE FROM documents WHERE collection = ? AND id = ?")
        };
        write.bind(name.as_str()).bind(id.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn load(path: &Path, origin: Origin<'_>) -> Result<Loaded, LoadError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A power failure must not undo what a search has returned.
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    match read(&mut connection, origin).await {
        Ok((applied, collections)) => Ok((IndexFile { connection }, applied, collections)),
        Err(error) => {
            // The caller may move the file next.
            connection.close().await.ok();
            Err(error)
        }
    }
}

async fn read(
    connection: &mut SqliteConnection,
    origin: Origin<'_>,
) -> Result<(Position, Collections), LoadError> {
    let dimensions = i64::try_from(origin.dimensions).map_err(|_| LoadError::Outdated)?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await?;
    if tables == 0 {
        create(connection, origin.model_digest, dimensions).await?;
    }
    let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if format != FORMAT {
        return Err(LoadError::Outdated);
    }
    let (digest, columns, analysis, applied): (String, i64, String, i64) =
        sqlx::query_as("SELECT model_digest, dimensions, analysis, applied FROM header")
            .fetch_one(&mut *connection)
            .await?;
    let made_with = (digest.as_str(), columns, analysis.as_str());
    if made_with != (origin.model_digest, dimensions, keyword::ANALYSIS) {
        return Err(LoadError::Outdated);
    }
    let mut collections = read_collections(connection, origin.dimensions).await?;
    read_documents(connection, origin.dimensions, &mut collections).await?;
    Ok((Position(applied.cast_unsigned()), collections))
}

async fn create(
    connection: &mut SqliteConnection,
    model_digest: &str,
    dimensions: i64,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::query(
        "INSERT INTO header (model_digest, dimensions, analysis, applied) VALUES (?, ?, ?, 0)",
    )
    .bind(model_digest)
    .bind(dimensions)
    .bind(keyword::ANALYSIS)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

async fn read_collections(
    connection: &mut SqliteConnection,
    dimensions: usize,
) -> Result<Collections, LoadError> {
    let mut collections = Collections::new();
    let mut rows = sqlx::query_as("SELECT name, statistics, changed_chunks FROM collections")
        .fetch(connection);
    while let Some((name, statistics, changed)) = rows.try_next().await? {
        let (name, statistics, changed): (String, Vec<u8>, i64) = (name, statistics, changed);
        let damaged = |error: &dyn std::fmt::Display| {
            LoadError::Damaged(format!("the collection '{name}': {error}"))
        };
        let statistics = decode_statistics(&statistics).map_err(|error| damaged(&error))?;
        let mut collection = Collection::new(dimensions);
        collection.set_epoch(Some(statistics.into()), changed.cast_unsigned());
        collections.insert(Name::new(&name).map_err(|error| damaged(&error))?, collection);
    }
    Ok(collections)
}

async fn read_documents(
    connection: &mut SqliteConnection,
    dimensions: usize,
    collections: &mut Collections,
) -> Result<(), LoadError> {
    type Row = (String, String, i64, String, String, Vec<u8>);
    let mut rows =
        sqlx::query_as("SELECT collection, id, version, text, metadata, chunks FROM documents")
            .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (collection, id, version, text, metadata, chunks): Row = row;
        let damaged = |error: &dyn std::fmt::Display| {
            LoadError::Damaged(format!("the document '{id}' of '{collection}': {error}"))
        };
        let key = DocumentId::new(&id).map_err(|error| damaged(&error))?;
        let chunks = decode_chunks(&chunks, dimensions).map_err(|error| damaged(&error))?;
        let content =
            Content::new(text.into(), metadata.into()).map_err(|error| damaged(&error))?;
        let name = Name::new(&collection).map_err(|error| damaged(&error))?;
        let version = Position(version.cast_unsigned());
        let document = NewDocument { version, content: Arc::new(content), chunks };
        check(&key, &document, dimensions).map_err(|error| damaged(&error))?;
        collections
            .get_mut(&name)
            .ok_or_else(|| damaged(&"its collection does not exist"))?
            .replace(key, Some(document));
    }
    Ok(())
}

impl LoadError {
    /// Whether the file itself is damaged, rather than something around it having failed.
    fn is_damage(&self) -> bool {
        /// SQLITE_CORRUPT and SQLITE_NOTADB.
        const DAMAGE: [i64; 2] = [11, 26];
        match self {
            Self::Outdated => false,
            Self::Damaged(_) => true,
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .and_then(|code| code.parse::<i64>().ok())
                .is_some_and(|code| DAMAGE.contains(&(code & 0xff))),
            Self::Database(error) => {
                matches!(error, sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. })
            }
        }
    }
}

/// Removes the file and the files that SQLite keeps next to it.
fn remove(path: &Path) -> std::io::Result<()> {
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
