//! Epochs of the collections' keyword statistics: which commits roll, and the statistics that an
//! index has computed for an epoch.
//!
//! A roll is decided by the commits alone, so that every index, rebuilt or not, weighs terms
//! alike. It leaves a row here for the statistics that begin there. They are computed by the
//! index, and `trim` keeps the states that they can be computed from until they are here.
//!
//! The chunks of versions that are set aside count for rolls, although no index has them: a mark
//! moves no roll that is in the log already. The statistics are of what the index has.

use sqlx::Row;

use weir_core::Position;
use weir_core::crash::{self, Point};
use weir_core::name::Name;

use super::quota::{self, Growth};
use super::write::Write;
use super::{SqliteTruth, collections, commits, stored};
use crate::{ChangeKind, KeptStatistics, TruthError};

/// A collection that had fewer chunks at its last roll rolls at every commit that changes chunks:
/// its statistics are cheap to compute and move much.
pub(super) const ALWAYS_ROLLED_CHUNKS: u64 = 128;
/// A larger collection rolls when more than one in this many of its chunks have changed.
pub(super) const ROLLED_ONE_IN: u64 = 10;

/// What a commit does to the size of its collection. Sizes are of the versions it adds and ends.
#[derive(Default)]
pub(super) struct Tally {
    added: Size,
    ended: Size,
}

/// A number of documents, with their sizes.
#[derive(Default)]
struct Size {
    documents: u64,
    bytes: u64,
    charged: u64,
    chunks: u64,
}

/// The size of a version, as its columns `bytes`, `charged` and `chunk_count`.
pub(super) type VersionSize = (u64, u64, u64);

impl Size {
    fn count(&mut self, (bytes, charged, chunks): VersionSize) {
        self.documents += 1;
        self.bytes += bytes;
        self.charged += charged;
        self.chunks += chunks;
    }
}

impl Tally {
    /// A version of this size is added.
    pub(super) fn add(&mut self, size: VersionSize) {
        self.added.count(size);
    }

    /// A version of this size ends.
    pub(super) fn end(&mut self, size: VersionSize) {
        self.ended.count(size);
    }

    /// The new size of the collection, and the roll if there is one, after the last change of
    /// the commit. Fails if it adds more than the tenant may have.
    pub(super) async fn settle(
        self,
        write: &mut Write<'_>,
        collection: &Name,
        key: i64,
    ) -> Result<(), TruthError> {
        if !write.has_changes() {
            return Ok(());
        }
        let (added, ended) = (self.added, self.ended);
        let position = stored(write.next().position);
        let row = sqlx::query(
            "UPDATE collections SET last = ?1, documents = documents + ?2 - ?3,
               bytes = bytes + ?4 - ?5, chunks = chunks + ?6 - ?7,
               chunks_changed = chunks_changed + ?6 + ?7, charged = charged + ?8 - ?9
             WHERE key = ?10 RETURNING chunks_at_roll, chunks_changed",
        )
        .bind(position)
        .bind(signed(added.documents))
        .bind(signed(ended.documents))
        .bind(signed(added.bytes))
        .bind(signed(ended.bytes))
        .bind(signed(added.chunks))
        .bind(signed(ended.chunks))
        .bind(signed(added.charged))
        .bind(signed(ended.charged))
        .bind(key)
        .fetch_one(write.connection())
        .await?;
        let growth = Growth {
            documents: added.documents > ended.documents,
            bytes: added.charged > ended.charged,
            collections: false,
        };
        quota::check(write, growth).await?;
        write.supersede(ended.bytes);
        if !is_roll(row.try_get("chunks_at_roll")?, row.try_get("chunks_changed")?) {
            return Ok(());
        }
        begin_epoch(write, key).await?;
        write.changed(collection, &ChangeKind::Rolled).await
    }
}

/// Begins an epoch of the collection's statistics at the commit.
pub(super) async fn begin_epoch(write: &mut Write<'_>, key: i64) -> Result<(), TruthError> {
    let rolled = "UPDATE collections SET chunks_at_roll = chunks, chunks_changed = 0 WHERE key = ?";
    sqlx::query(rolled).bind(key).execute(write.connection()).await?;
    let position = stored(write.next().position);
    sqlx::query("INSERT INTO statistics (collection, epoch) VALUES (?, ?)")
        .bind(key)
        .bind(position)
        .execute(write.connection())
        .await?;
    Ok(())
}

impl SqliteTruth {
    /// Keeps the statistics of an epoch, the first time. Nothing happens if there is no such
    /// roll.
    pub(super) async fn insert_statistics(
        &self,
        collection: Name,
        statistics: KeptStatistics,
    ) -> Result<(), TruthError> {
        self.write(move |write| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE statistics SET encoded = ? WHERE epoch = ? AND encoded IS NULL
                       AND collection IN (SELECT key FROM collections WHERE name = ?)",
                )
                .bind(statistics.encoded)
                .bind(stored(statistics.epoch))
                .bind(collection.as_str())
                .execute(write.connection())
                .await?;
                crash::at(Point::BeforeStatistics);
                Ok(())
            })
        })
        .await
    }

    /// The statistics of the epoch at a position, if they are kept.
    pub(super) async fn read_statistics_at(
        &self,
        collection: &Name,
        at: Position,
    ) -> Result<Option<KeptStatistics>, TruthError> {
        let mut read = self.shared.readers.begin().await?;
        commits::refuse_trimmed(&mut read, at).await?;
        let Some(key) = collections::key_at(&mut read, collection, at).await? else {
            return Ok(None);
        };
        let epoch: Option<(u64, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT epoch, encoded FROM statistics WHERE collection = ? AND epoch <= ?
             ORDER BY epoch DESC LIMIT 1",
        )
        .bind(key)
        .bind(stored(at))
        .fetch_optional(&mut *read)
        .await?;
        Ok(epoch.and_then(|(epoch, encoded)| {
            Some(KeptStatistics { epoch: Position(epoch), encoded: encoded? })
        }))
    }
}

/// Whether a commit after which this many chunks have changed since the last roll is a roll.
pub(super) fn is_roll(chunks_at_roll: u64, changed: u64) -> bool {
    changed > 0
        && (chunks_at_roll < ALWAYS_ROLLED_CHUNKS
            || changed.saturating_mul(ROLLED_ONE_IN) > chunks_at_roll)
}

/// A size as SQLite stores it: what fits into memory is below 2^63.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
