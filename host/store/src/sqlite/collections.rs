//! Collections: create, list, count, and drop with all of their documents.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use weir_core::Position;
use weir_core::name::Name;

use super::{SqliteTruth, damaged, stored};
use crate::{ChangeKind, Collection, TruthError};

/// The most collections that a tenant can have.
const MAX_COLLECTIONS: u32 = 1_024;

impl SqliteTruth {
    /// Creates the collection. The position is `None` if it already existed.
    pub(super) async fn insert_collection(
        &self,
        name: Name,
    ) -> Result<(Collection, Option<Position>), TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                if let Some(collection) = find(write.connection(), &name).await? {
                    return Ok((collection, None));
                }
                refuse_when_full(write.connection()).await?;
                let created = write.next();
                sqlx::query("INSERT INTO collections (name, created) VALUES (?, ?)")
                    .bind(name.as_str())
                    .bind(stored(created))
                    .execute(write.connection())
                    .await?;
                write.changed(&name, ChangeKind::CollectionCreated);
                Ok((Collection { name, created, documents: 0 }, Some(created)))
            })
        })
        .await
    }

    /// All collections by name, which [`MAX_COLLECTIONS`] bounds.
    pub(super) async fn read_collections(&self) -> Result<Vec<Collection>, TruthError> {
        let rows = sqlx::query(
            "SELECT name, created,
               (SELECT count(*) FROM documents WHERE collection = collections.key) AS documents
             FROM collections ORDER BY name",
        )
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(collection).collect()
    }

    /// The collection, if it exists.
    pub(super) async fn read_collection(
        &self,
        name: &Name,
    ) -> Result<Option<Collection>, TruthError> {
        find(&mut *self.shared.readers.acquire().await?, name).await
    }

    /// Drops the collection with all of its documents. `None` if it did not exist.
    pub(super) async fn delete_collection(
        &self,
        name: Name,
    ) -> Result<Option<Position>, TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                let dropped = sqlx::query("DELETE FROM collections WHERE name = ?")
                    .bind(name.as_str())
                    .execute(write.connection())
                    .await?;
                if dropped.rows_affected() == 0 {
                    return Ok(None);
                }
                write.changed(&name, ChangeKind::CollectionDeleted);
                Ok(Some(write.position()))
            })
        })
        .await
    }
}

/// The collection's key in the other tables.
pub(super) async fn key(connection: &mut SqliteConnection, name: &Name) -> Result<i64, TruthError> {
    sqlx::query_scalar("SELECT key FROM collections WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| TruthError::UnknownCollection(name.clone()))
}

async fn find(
    connection: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<Collection>, TruthError> {
    let row = sqlx::query(
        "SELECT name, created,
           (SELECT count(*) FROM documents WHERE collection = collections.key) AS documents
         FROM collections WHERE name = ?",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(collection).transpose()
}

async fn refuse_when_full(connection: &mut SqliteConnection) -> Result<(), TruthError> {
    let collections: u32 =
        sqlx::query_scalar("SELECT count(*) FROM collections").fetch_one(connection).await?;
    if collections < MAX_COLLECTIONS {
        Ok(())
    } else {
        Err(TruthError::TooManyCollections { limit: MAX_COLLECTIONS })
    }
}

fn collection(row: &SqliteRow) -> Result<Collection, TruthError> {
    Ok(Collection {
        name: Name::new(row.try_get("name")?).map_err(damaged)?,
        created: Position(row.try_get("created")?),
        documents: row.try_get("documents")?,
    })
}
