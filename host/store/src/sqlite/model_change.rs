//! The model whose vectors and chunks the answers are made of.
//!
//! A change of the model is a commit: before it, answers are made with the old model, and from it on
//! with the new one. Each collection has a line about it, and begins an epoch of statistics there,
//! because the new model may split texts in another way.

use sqlx::SqliteConnection;

use weir_core::crash::{self, Point};
use weir_core::name::Name;
use weir_core::{Commit, Position};

use super::write::Write;
use super::{SqliteTruth, damaged, statistics, stored};
use crate::{ChangeKind, Model, TruthError};

impl SqliteTruth {
    /// The model, if one was chosen.
    pub(super) async fn read_model(&self) -> Result<Option<Model>, TruthError> {
        current(&mut *self.shared.readers.acquire().await?).await
    }

    /// Changes the model. The first one is noted without a commit: nothing was answered before.
    /// Returns the last commit if it is the model already.
    pub(super) async fn set_model(&self, digest: String) -> Result<Commit, TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                let before = current(write.connection()).await?;
                if before.as_ref().is_some_and(|before| before.digest == digest) {
                    return Ok(write.commit());
                }
                let key = key(write.connection(), &digest).await?;
                let since = if before.is_some() {
                    write.commit_without_lines();
                    change_collections(write).await?;
                    write.next().position
                } else {
                    Position::ZERO
                };
                sqlx::query("UPDATE truth SET model = ?, model_since = ?")
                    .bind(key)
                    .bind(stored(since))
                    .execute(write.connection())
                    .await?;
                if before.is_some() {
                    crash::at(Point::BeforeModelChange);
                }
                Ok(write.commit())
            })
        })
        .await
    }
}

async fn current(connection: &mut SqliteConnection) -> Result<Option<Model>, TruthError> {
    let model: Option<(String, u64)> = sqlx::query_as(
        "SELECT digest, model_since FROM truth JOIN models ON models.key = truth.model",
    )
    .fetch_optional(connection)
    .await?;
    Ok(model.map(|(digest, since)| Model { digest, since: Position(since) }))
}

/// The key of the model in the other tables; the first one has key 1.
pub(super) async fn key(
    connection: &mut SqliteConnection,
    digest: &str,
) -> Result<i64, TruthError> {
    sqlx::query("INSERT INTO models (digest) VALUES (?) ON CONFLICT (digest) DO NOTHING")
        .bind(digest)
        .execute(&mut *connection)
        .await?;
    let key = sqlx::query_scalar("SELECT key FROM models WHERE digest = ?")
        .bind(digest)
        .fetch_one(connection)
        .await?;
    Ok(key)
}

/// Gives each collection its line, and the epoch that begins there.
async fn change_collections(write: &mut Write<'_>) -> Result<(), TruthError> {
    let collections: Vec<(i64, String)> =
        sqlx::query_as("SELECT key, name FROM collections WHERE dropped IS NULL ORDER BY key")
            .fetch_all(write.connection())
            .await?;
    let position = stored(write.next().position);
    for (key, name) in collections {
        let name = Name::new(&name).map_err(damaged)?;
        sqlx::query("UPDATE collections SET last = ? WHERE key = ?")
            .bind(position)
            .bind(key)
            .execute(write.connection())
            .await?;
        statistics::begin_epoch(write, key).await?;
        write.changed(&name, &ChangeKind::ModelChanged).await?;
    }
    Ok(())
}
