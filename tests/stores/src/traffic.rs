//! What is written: entries by number, the same in every run.
//!
//! Nothing of an entry is kept: its key, its bytes and its ttl are made again from its number when it is
//! looked for. Bytes are random, because what Weir stores is compressed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use weir_cache::CacheKey;
use weir_cache::tier::Envelope;

/// So many are written at once, as by Weir's queue.
pub(crate) const BATCH: u64 = 64;
/// One entry of so many has the short ttl.
const SHORT_LIVED_EVERY: u64 = 8;
/// The ttl of some. So short that some expire while the others are still written.
pub(crate) const SHORT_TTL: Duration = Duration::from_millis(200);
/// The ttl of the others: nothing of them expires during a run.
const LONG_TTL: Duration = Duration::from_secs(24 * 3600);

const MIN_BYTES: u64 = 1 << 10;
const MAX_BYTES: u64 = 7 << 10;
const MEAN_BYTES: u64 = u64::midpoint(MIN_BYTES, MAX_BYTES);
/// Entries from here on are never written.
const ABSENT_FROM: u64 = 1 << 40;

/// How much is written into how much room.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    /// How large a store may become.
    pub(crate) limit_bytes: u64,
    /// How many batches are written.
    pub(crate) batches: u64,
    /// So many of the last entries are as large as the limit.
    pub(crate) limit_entries: u64,
    /// A batch is written so often, if not as fast as the store takes them.
    pub(crate) pace: Option<Duration>,
}

impl Traffic {
    pub(crate) fn new(written_bytes: u64, limit_bytes: u64, bytes_per_second: Option<u64>) -> Self {
        let batch_bytes = (BATCH * MEAN_BYTES) as f64;
        Self {
            limit_bytes,
            batches: written_bytes / (BATCH * MEAN_BYTES),
            limit_entries: limit_bytes / MEAN_BYTES,
            pace: bytes_per_second.map(|bytes| Duration::from_secs_f64(batch_bytes / bytes as f64)),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One of the last entries, which together are a quarter of the limit. Every store should have it.
    Young,
    /// One of the last entries, which together are as large as the limit. A store that rounds up has not
    /// all of them.
    Fitting,
    /// One from before as much as twice the limit. No store should have it.
    Old,
    /// One whose ttl has passed. No store may return it.
    Expired,
    /// One that was never written. No store can return it.
    Absent,
}

impl Asked {
    pub(crate) const ALL: [Self; 5] =
        [Self::Young, Self::Fitting, Self::Old, Self::Expired, Self::Absent];

    /// Draws the number of such an entry, if there is one, after `written` entries, of which those before
    /// `expired` are gone if they are short-lived.
    pub(crate) fn draw(
        self,
        traffic: &Traffic,
        written: u64,
        expired: u64,
        random: &mut SmallRng,
    ) -> Option<u64> {
        let limit = traffic.limit_entries;
        let (range, is_short_lived) = match self {
            Self::Young => (written.saturating_sub(limit / 4)..written, false),
            Self::Fitting => (written.saturating_sub(limit)..written, false),
            Self::Old => (0..written.saturating_sub(2 * limit), false),
            // From the youngest of them: the others went with the oldest.
            Self::Expired => (expired.saturating_sub(limit / 4)..expired, true),
            Self::Absent => (ABSENT_FROM..2 * ABSENT_FROM, false),
        };
        // A range that holds both kinds.
        if range.end - range.start < SHORT_LIVED_EVERY {
            return None;
        }
        loop {
            let number = random.random_range(range.clone());
            if short_lived(number) == is_short_lived {
                return Some(number);
            }
        }
    }
}

/// The entries of a batch.
pub(crate) fn batch(number: u64) -> Vec<Envelope> {
    (number * BATCH..(number + 1) * BATCH).map(entry).collect()
}

/// The entry of this number.
pub(crate) fn entry(number: u64) -> Envelope {
    let mut random = SmallRng::seed_from_u64(number);
    let mut key = [0; 32];
    random.fill_bytes(&mut key);
    let mut bytes = vec![0; random.random_range(MIN_BYTES..=MAX_BYTES) as usize];
    random.fill_bytes(&mut bytes);
    let ttl = if short_lived(number) { SHORT_TTL } else { LONG_TTL };
    Envelope { key: CacheKey::from_bytes(key), bytes, ttl }
}

fn short_lived(number: u64) -> bool {
    number.is_multiple_of(SHORT_LIVED_EVERY)
}
