//! Reads the index file: checks what it was made with, and every row of it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use sqlx::{Connection, SqliteConnection};
use thiserror::Error;

use crate::keyword::{self, Statistics};
use crate::{Content, IndexedDocument};
use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit, Position};

use super::check::check;
use super::codec::decode_chunks;
use super::collection::{Collection, Entry, State};
use super::segment::SegmentBuilder;

const SCHEMA: &str = include_str!("schema.sql");
/// The schema's `user_version`.
const FORMAT: i64 = 3;

/// What an index is made with; if any of it changes, the index is rebuilt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The id of the truth.
    pub(super) truth: &'a str,
    pub(super) model_digest: &'a str,
    pub(super) dimensions: usize,
}

#[derive(Debug, Error)]
pub(super) enum LoadError {
    /// The string names what differs.
    #[error("it was made with another {0}")]
    Outdated(&'static str),
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl LoadError {
    /// Whether the file itself is damaged, rather than something around it having failed.
    pub(super) fn is_damage(&self) -> bool {
        /// SQLITE_CORRUPT and SQLITE_NOTADB.
        const DAMAGE: [i64; 2] = [11, 26];
        match self {
            Self::Outdated(_) => false,
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

/// A collection while its documents are read.
struct Reading {
    last: Commit,
    /// Of a collection that exists.
    exists: Option<(Arc<Statistics>, SegmentBuilder)>,
}

/// Reads all of the file; creates its tables if it is empty.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    origin: Origin<'_>,
) -> Result<State, LoadError> {
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await?;
    if tables == 0 {
        create(connection, origin).await?;
    }
    let completed = read_header(connection, origin).await?;
    let mut collections = read_collections(connection, origin.dimensions).await?;
    read_documents(connection, origin.dimensions, &mut collections).await?;
    let finish = |(name, Reading { last, exists })| {
        let collection = exists.map(|(statistics, builder)| {
            Arc::new(Collection::of(builder.finish(), statistics, origin.dimensions))
        });
        (name, Entry { last, collection })
    };
    Ok(State { entries: collections.into_iter().map(finish).collect(), completed })
}

async fn create(connection: &mut SqliteConnection, origin: Origin<'_>) -> Result<(), LoadError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::query(
        "INSERT INTO header (truth, model_digest, dimensions, analysis, position, chain) \
         VALUES (?, ?, ?, ?, 0, 0)",
    )
    .bind(origin.truth)
    .bind(origin.model_digest)
    .bind(origin.dimensions as i64)
    .bind(keyword::ANALYSIS)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Checks what the file was made with. Returns the commit that it is complete up to.
async fn read_header(
    connection: &mut SqliteConnection,
    origin: Origin<'_>,
) -> Result<Commit, LoadError> {
    let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if format != FORMAT {
        return Err(LoadError::Outdated("format"));
    }
    let (truth, digest, dimensions, analysis, position, chain): (
        String,
        String,
        i64,
        String,
        i64,
        i64,
    ) = sqlx::query_as(
        "SELECT truth, model_digest, dimensions, analysis, position, chain FROM header",
    )
    .fetch_one(&mut *connection)
    .await?;
    let same = [
        ("truth", truth == origin.truth),
        ("model", digest == origin.model_digest),
        ("number of dimensions", dimensions == origin.dimensions as i64),
        ("analysis of text", analysis == keyword::ANALYSIS),
    ];
    if let Some((other, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(LoadError::Outdated(other));
    }
    commit(position, chain).map_err(|reason| LoadError::Damaged(format!("the header: {reason}")))
}

async fn read_collections(
    connection: &mut SqliteConnection,
    dimensions: usize,
) -> Result<HashMap<Name, Reading>, LoadError> {
    type Row = (String, i64, i64, Option<Vec<u8>>);
    let mut collections = HashMap::new();
    let mut rows = sqlx::query_as("SELECT name, position, chain, statistics FROM collections")
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (name, position, chain, statistics): Row = row;
        let damaged = |error: &dyn std::fmt::Display| {
            LoadError::Damaged(format!("the collection '{name}': {error}"))
        };
        let last = commit(position, chain).map_err(|reason| damaged(&reason))?;
        let statistics = statistics.map(|statistics| Statistics::decode(&statistics)).transpose();
        let builder = |statistics| (Arc::new(statistics), SegmentBuilder::new(dimensions));
        let exists = statistics.map_err(|error| damaged(&error))?.map(builder);
        let name = Name::new(&name).map_err(|error| damaged(&error))?;
        collections.insert(name, Reading { last, exists });
    }
    Ok(collections)
}

async fn read_documents(
    connection: &mut SqliteConnection,
    dimensions: usize,
    collections: &mut HashMap<Name, Reading>,
) -> Result<(), LoadError> {
    type Row = (String, String, i64, String, String, Vec<u8>);
    // The order of the primary key, which is the order of ids: both compare bytes.
    let mut rows = sqlx::query_as(
        "SELECT collection, id, version, text, metadata, chunks FROM documents \
         ORDER BY collection, id",
    )
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
        let document = IndexedDocument { version, content: Arc::new(content), chunks };
        check(&key, &document, dimensions).map_err(|error| damaged(&error))?;
        let (_, builder) = collections
            .get_mut(&name)
            .and_then(|reading| reading.exists.as_mut())
            .ok_or_else(|| damaged(&"its collection does not exist"))?;
        if builder.last().is_some_and(|last| *last >= key) {
            return Err(damaged(&"it is there twice"));
        }
        builder.add(key, document);
    }
    Ok(())
}

fn commit(position: i64, chain: i64) -> Result<Commit, &'static str> {
    let chain = u32::try_from(chain).map_err(|_| "the chain value is out of range")?;
    Ok(Commit { position: Position(position.cast_unsigned()), chain: Chain(chain) })
}
