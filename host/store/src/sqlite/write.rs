//! The transaction of a write: detached from its caller, one at a time, all or nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use weir_core::crash::{self, Point};
use weir_core::name::Name;
use weir_core::{Chain, Commit, Position};

use super::backlog::{Backlog, LINE_BYTES};
use super::{Shared, SqliteTruth, changes, commits};
use crate::{ChangeKind, Quota, TruthError};

/// A write in progress. If it is dropped without a commit, nothing has changed.
pub(super) struct Write<'c> {
    transaction: Transaction<'c, Sqlite>,
    backlog: &'c Backlog,
    quota: &'c Quota,
    before: Commit,
    next: Commit,
    lines: usize,
    /// Whether it is a commit even if it has no lines.
    without_lines: bool,
    /// Bytes that are added to the backlog and freed from it.
    superseded: u64,
    freed: u64,
}

impl<'c> Write<'c> {
    /// Takes SQLite's write lock, so the position read here stays the last one until the write
    /// ends.
    async fn begin(
        connection: &'c mut SqliteConnection,
        backlog: &'c Backlog,
        quota: &'c Quota,
    ) -> Result<Self, TruthError> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let before = commits::head(&mut transaction).await?;
        let position = Position(before.position.0 + 1);
        let next = Commit { position, chain: Chain(rand::random()) };
        Ok(Self {
            transaction,
            backlog,
            quota,
            before,
            next,
            lines: 0,
            without_lines: false,
            superseded: 0,
            freed: 0,
        })
    }

    /// The connection that runs the statements of the write.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// The commit that the changes of this write get.
    pub(super) fn next(&self) -> Commit {
        self.next
    }

    /// The commit at which this write is visible: its own, or the last one if nothing has
    /// changed.
    pub(super) fn commit(&self) -> Commit {
        if self.has_changes() { self.next } else { self.before }
    }

    /// Whether the write has changed something.
    pub(super) fn has_changes(&self) -> bool {
        self.lines > 0 || self.without_lines
    }

    /// Makes this a commit even if no collection has a line about it.
    pub(super) fn commit_without_lines(&mut self) {
        self.without_lines = true;
    }

    /// What the tenant may have.
    pub(super) fn quota(&self) -> &Quota {
        self.quota
    }

    /// Refuses the write while the backlog is full. Writes that add to it ask before they do
    /// anything.
    pub(super) fn refuse_when_full(&self) -> Result<(), TruthError> {
        self.backlog.refuse_when_full()
    }

    /// Appends a line to the log. All lines of a write are about one collection, unless it
    /// changes the model.
    pub(super) async fn changed(
        &mut self,
        collection: &Name,
        kind: &ChangeKind,
    ) -> Result<(), TruthError> {
        let (position, line) = (self.next.position, self.lines);
        changes::append(&mut self.transaction, collection, position, line, kind).await?;
        self.lines += 1;
        Ok(())
    }

    /// Versions of this size became history.
    pub(super) fn supersede(&mut self, bytes: u64) {
        self.superseded += bytes;
    }

    /// History of this size was forgotten.
    pub(super) fn free(&mut self, bytes: u64) {
        self.freed += bytes;
    }

    /// Commits, and returns the bytes by which the backlog moves.
    async fn finish(mut self) -> Result<(u64, u64), TruthError> {
        if self.has_changes() {
            commits::append(&mut self.transaction, self.next).await?;
            crash::at(Point::BeforeCommit);
        }
        self.transaction.commit().await?;
        if self.lines > 0 {
            crash::at(Point::AfterCommit);
        }
        Ok((self.superseded + LINE_BYTES * self.lines as u64, self.freed))
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
    /// Notes whether a write failed although nothing was wrong with it.
    fn note<T>(&self, done: &Result<T, TruthError>) {
        match done {
            Ok(_) => self.writable.store(true, Ordering::Relaxed),
            Err(TruthError::Failed(_)) => self.writable.store(false, Ordering::Relaxed),
            Err(_) => {}
        }
    }

    async fn transact<T, W>(&self, work: W) -> Result<T, TruthError>
    where
        W: for<'w, 'c> FnOnce(&'w mut Write<'c>) -> BoxFuture<'w, Result<T, TruthError>>,
    {
        let mut connection = match self.writer.acquire().await {
            Ok(connection) => connection,
            Err(error) => {
                let failed = Err(error.into());
                self.note(&failed);
                return failed;
            }
        };
        let done = self.transact_on(&mut connection, work).await;
        // While the connection is held, so that the last write has the last word.
        self.note(&done);
        done
    }

    async fn transact_on<T, W>(
        &self,
        connection: &mut SqliteConnection,
        work: W,
    ) -> Result<T, TruthError>
    where
        W: for<'w, 'c> FnOnce(&'w mut Write<'c>) -> BoxFuture<'w, Result<T, TruthError>>,
    {
        let mut write = Write::begin(connection, &self.backlog, &self.quota).await?;
        let done = work(&mut write).await?;
        let last = write.has_changes().then(|| write.next());
        let (added, freed) = write.finish().await?;
        // This task still holds the writing connection, so commits are announced in order.
        self.backlog.moved(added, freed);
        if let Some(last) = last {
            self.committed.send_replace(last);
        }
        Ok(done)
    }
}
