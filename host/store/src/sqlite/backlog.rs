//! How much history waits to be trimmed, and the refusal of writes when it is too much.
//!
//! The size is kept in memory: measured when the file is opened, and moved by every commit under
//! the writing connection.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::SqlitePool;

use crate::TruthError;

/// Roughly what a line of the log takes, with its indexes.
pub(super) const LINE_BYTES: u64 = 100;

/// The size of the history that trimming frees.
pub(super) struct Backlog {
    bytes: AtomicU64,
    limit: u64,
}

impl Backlog {
    /// Adds up what the file holds. Texts are not read for that.
    pub(super) async fn measure(pool: &SqlitePool, limit: u64) -> Result<Self, TruthError> {
        let (versions, dropped, lines): (u64, u64, u64) = sqlx::query_as(
            "SELECT (SELECT ifnull(sum(bytes), 0) FROM documents WHERE ended IS NOT NULL),
               (SELECT ifnull(sum(bytes), 0) FROM collections WHERE dropped IS NOT NULL),
               (SELECT count(*) FROM changes)",
        )
        .fetch_one(pool)
        .await?;
        let bytes = versions + dropped + lines * LINE_BYTES;
        Ok(Self { bytes: AtomicU64::new(bytes), limit })
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Refuses a write while the backlog is larger than its limit.
    pub(super) fn refuse_when_full(&self) -> Result<(), TruthError> {
        match self.bytes() {
            bytes if bytes > self.limit => {
                Err(TruthError::BacklogFull { bytes, limit: self.limit })
            }
            _ => Ok(()),
        }
    }

    /// What a commit adds and frees. Only the holder of the writing connection calls it.
    pub(super) fn moved(&self, added: u64, freed: u64) {
        let bytes = self.bytes().saturating_add(added).saturating_sub(freed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}
