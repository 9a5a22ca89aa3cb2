//! The position of the last line of each collection, which survives trimming.
//!
//! Collections that exist have it in their row. Of those that were dropped, the newest
//! [`KEPT_DROPS`] are kept by name; for all others, there is a position after which they have not
//! changed.

use sqlx::SqliteConnection;
use weir_core::Position;
use weir_core::name::Name;

use super::{SqliteTruth, damaged, invalidations, stored};
use crate::{LastChanges, TruthError};

/// How many dropped collections are kept by name.
pub(super) const KEPT_DROPS: i64 = 10_000;

impl SqliteTruth {
    /// The last changes of everything.
    pub(super) async fn read_last_changes(&self) -> Result<LastChanges, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        let rows: Vec<(Option<String>, u64)> = sqlx::query_as(
            "SELECT name, max(last) FROM
               (SELECT name, last FROM collections UNION ALL SELECT collection, last FROM dropped)
             GROUP BY name
             UNION ALL SELECT NULL, max(dropped_before, model_since) FROM truth",
        )
        .fetch_all(&mut *read)
        .await?;
        let invalidations = invalidations::after(&mut read, Position::ZERO).await?;
        let mut changes =
            LastChanges { others: Position::ZERO, collections: Vec::new(), invalidations };
        for (name, last) in rows {
            match name {
                Some(name) => {
                    let name = Name::new(&name).map_err(damaged)?;
                    changes.collections.push((name, Position(last)));
                }
                None => changes.others = Position(last),
            }
        }
        Ok(changes)
    }
}

/// Notes that the collection was dropped.
pub(super) async fn dropped(
    connection: &mut SqliteConnection,
    collection: &Name,
    at: Position,
) -> Result<(), TruthError> {
    sqlx::query("INSERT OR REPLACE INTO dropped (collection, last) VALUES (?, ?)")
        .bind(collection.as_str())
        .bind(stored(at))
        .execute(&mut *connection)
        .await?;
    let forgotten: Option<i64> =
        sqlx::query_scalar("SELECT last FROM dropped ORDER BY last DESC LIMIT 1 OFFSET ?")
            .bind(KEPT_DROPS)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(last) = forgotten {
        sqlx::query("UPDATE truth SET dropped_before = max(dropped_before, ?)")
            .bind(last)
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM dropped WHERE last <= ?").bind(last).execute(connection).await?;
    }
    Ok(())
}
