//! Collections: create, list and drop, and which of them existed at a position.
//!
//! Dropping a collection only marks it: its documents stay readable at earlier positions until
//! `trim` forgets them. A name that is created again is another row.
//!
//! A collection counts its documents and their sizes itself, in the transaction of each write
//! (`Tally` in `statistics`), so asking for them costs the same however many there are.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use weir_core::name::Name;
use weir_core::{Chain, Commit, Position};

use super::quota::{self, Growth};
use super::{SqliteTruth, commits, damaged, last_changes, stored};
use crate::{ChangeKind, Collection, TruthError};

/// The most collections that a tenant can have.
const MAX_COLLECTIONS: u32 = 1_024;

impl SqliteTruth {
    /// Creates the collection. The commit is `None` if it already existed.
    pub(super) async fn insert_collection(
        &self,
        name: Name,
    ) -> Result<(Collection, Option<Commit>), TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                write.refuse_when_full()?;
                if let Some(collection) = find(write.connection(), &name).await? {
                    return Ok((collection, None));
                }
                refuse_too_many(write.connection()).await?;
                let created = write.next();
                sqlx::query(
                    "INSERT INTO collections (name, created, created_chain, last)
                     VALUES (?1, ?2, ?3, ?2)",
                )
                .bind(name.as_str())
                .bind(stored(created.position))
                .bind(created.chain.0)
                .execute(write.connection())
                .await?;
                quota::check(write, Growth { collections: true, ..Growth::default() }).await?;
                write.changed(&name, &ChangeKind::CollectionCreated).await?;
                Ok((Collection { name, created, documents: 0, bytes: 0 }, Some(created)))
            })
        })
        .await
    }

    /// All collections by name, which [`MAX_COLLECTIONS`] bounds, as of the last commit.
    pub(super) async fn read_collections(&self) -> Result<(Vec<Collection>, Commit), TruthError> {
        let mut read = self.shared.readers.begin().await?;
        let head = commits::head(&mut read).await?;
        let rows = sqlx::query(
            "SELECT name, created, created_chain, documents, charged FROM collections
             WHERE dropped IS NULL ORDER BY name",
        )
        .fetch_all(&mut *read)
        .await?;
        Ok((rows.iter().map(collection).collect::<Result<_, _>>()?, head))
    }

    /// The collection, if it exists, as of the last commit.
    pub(super) async fn read_collection(
        &self,
        name: &Name,
    ) -> Result<(Option<Collection>, Commit), TruthError> {
        let mut read = self.shared.readers.begin().await?;
        let head = commits::head(&mut read).await?;
        Ok((find(&mut read, name).await?, head))
    }

    /// The names of the collections that existed at a position, sorted.
    pub(super) async fn read_collections_at(&self, at: Position) -> Result<Vec<Name>, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, at).await?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM collections
             WHERE created <= ?1 AND (dropped IS NULL OR dropped > ?1) ORDER BY name",
        )
        .bind(stored(at))
        .fetch_all(&mut *read)
        .await?;
        names.iter().map(|name| Name::new(name).map_err(damaged)).collect()
    }

    /// Drops the collection with all of its documents. `None` if it did not exist.
    pub(super) async fn mark_dropped(&self, name: Name) -> Result<Option<Commit>, TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                write.refuse_when_full()?;
                let bytes: Option<u64> = sqlx::query_scalar(
                    "UPDATE collections SET dropped = ?1, last = ?1
                     WHERE name = ?2 AND dropped IS NULL RETURNING bytes",
                )
                .bind(stored(write.next().position))
                .bind(name.as_str())
                .fetch_optional(write.connection())
                .await?;
                let Some(bytes) = bytes else { return Ok(None) };
                write.supersede(bytes);
                write.changed(&name, &ChangeKind::CollectionDeleted).await?;
                let at = write.next().position;
                last_changes::dropped(write.connection(), &name, at).await?;
                Ok(Some(write.commit()))
            })
        })
        .await
    }
}

/// The collection's key in the other tables.
pub(super) async fn key(connection: &mut SqliteConnection, name: &Name) -> Result<i64, TruthError> {
    sqlx::query_scalar("SELECT key FROM collections WHERE name = ? AND dropped IS NULL")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| TruthError::UnknownCollection(name.clone()))
}

/// The key of the collection that had the name at a position.
pub(super) async fn key_at(
    connection: &mut SqliteConnection,
    name: &Name,
    at: Position,
) -> Result<Option<i64>, TruthError> {
    let key = sqlx::query_scalar(
        "SELECT key FROM collections
         WHERE name = ?1 AND created <= ?2 AND (dropped IS NULL OR dropped > ?2)",
    )
    .bind(name.as_str())
    .bind(stored(at))
    .fetch_optional(connection)
    .await?;
    Ok(key)
}

async fn find(
    connection: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<Collection>, TruthError> {
    let row = sqlx::query(
        "SELECT name, created, created_chain, documents, charged FROM collections
         WHERE name = ? AND dropped IS NULL",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(collection).transpose()
}

async fn refuse_too_many(connection: &mut SqliteConnection) -> Result<(), TruthError> {
    let collections: u32 =
        sqlx::query_scalar("SELECT count(*) FROM collections WHERE dropped IS NULL")
            .fetch_one(connection)
            .await?;
    if collections < MAX_COLLECTIONS {
        Ok(())
    } else {
        Err(TruthError::TooManyCollections { limit: MAX_COLLECTIONS })
    }
}

fn collection(row: &SqliteRow) -> Result<Collection, TruthError> {
    Ok(Collection {
        name: Name::new(row.try_get("name")?).map_err(damaged)?,
        created: Commit {
            position: Position(row.try_get("created")?),
            chain: Chain(row.try_get("created_chain")?),
        },
        documents: row.try_get("documents")?,
        bytes: row.try_get("charged")?,
    })
}
