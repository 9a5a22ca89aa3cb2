//! The transaction of a write: detached from its caller, one at a time, all or nothing.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use weir_core::Position;
use weir_core::name::Name;

use super::{Shared, SqliteTruth, changes};
use crate::{Change, ChangeKind, TruthError};

/// A write in progress. If it is dropped without a commit, nothing has changed.
pub(super) struct Write<'c> {
    transaction: Transaction<'c, Sqlite>,
    before: Position,
    changes: Vec<Change>,
}

impl<'c> Write<'c> {
    /// Takes SQLite's write lock, so the position read here stays the last one until the write
    /// ends.
    async fn begin(connection: &'c mut SqliteConnection) -> Result<Self, TruthError> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let before =
            sqlx::query_scalar("SELECT position FROM counter").fetch_one(&mut *transaction).await?;
        Ok(Self { transaction, before: Position(before), changes: Vec::new() })
    }

    /// The connection that runs the statements of the write.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// The position that the changes of this write get.
    pub(super) fn next(&self) -> Position {
        Position(self.before.0 + 1)
    }

    /// The position at which this write is visible: the next one, or the last commit's if
    /// nothing has changed.
    pub(super) fn position(&self) -> Position {
        if self.changes.is_empty() { self.before } else { self.next() }
    }

    /// Records a change for the log.
    pub(super) fn changed(&mut self, collection: &Name, kind: ChangeKind) {
        let position = self.next();
        self.changes.push(Change { position, collection: collection.clone(), kind });
    }

    async fn commit(mut self) -> Result<Vec<Change>, TruthError> {
        if !self.changes.is_empty() {
            changes::append(&mut self.transaction, &self.changes).await?;
        }
        self.transaction.commit().await?;
        Ok(self.changes)
    }
}

impl SqliteTruth {
    /// Does `work` in one transaction on its own task: once started it finishes, even if the
    /// caller stops waiting. An error from `work` rolls everything back.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, TruthError>
    where
        T: Send + 'static,
        W: for<'w, 'c> FnOnce(&'w mut Write<'c>) -> BoxFuture<'w, Result<T, TruthError>>
            + Send
            + 'static,
    {
        let permit = Arc::clone(&self.shared.writes_waiting)
            .try_acquire_owned()
            .map_err(|_| TruthError::Overloaded)?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let _permit = permit;
            shared.transact(work).await
        });
        task.await.unwrap_or_else(|cut| Err(TruthError::Cut(cut.to_string())))
    }
}

impl Shared {
    async fn transact<T, W>(&self, work: W) -> Result<T, TruthError>
    where
        W: for<'w, 'c> FnOnce(&'w mut Write<'c>) -> BoxFuture<'w, Result<T, TruthError>>,
    {
        let mut connection = self.writer.acquire().await?;
        let mut write = Write::begin(&mut connection).await?;
        let done = work(&mut write).await?;
        let changes = write.commit().await?;
        // This task still holds the writing connection, so commits are announced in order.
        if let Some(last) = changes.last() {
            if let Some(observer) = self.observer.get() {
                observer(&changes);
            }
            self.committed.send_replace(last.position);
        }
        drop(connection);
        Ok(done)
    }
}
