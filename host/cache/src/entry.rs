//! Entries: an answer, when it was made, and what makes it untrue.
//!
//! Two things end an entry. Its ttl is about time, measured by a monotonic clock; its validity
//! is about order, measured by positions.
//!
//! Out of scope: what an entry looks like outside this process (see [`encoding`](crate::encoding)).

use std::time::{Duration, Instant, SystemTime};

use weir_core::Commit;

use crate::lifetime::Lifetime;
use crate::reads::Dependencies;
use crate::tag::{Reads, TagTable};

/// An instant by two clocks: the monotonic one measures ages in this process, and the wall clock
/// carries them to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub monotonic: Instant,
    /// By the wall clock, in milliseconds since 1970; 0 for earlier.
    pub unix_ms: u64,
}

impl Moment {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = since_1970.map_or(0, whole_ms);
        Self { monotonic: Instant::now(), unix_ms }
    }
}

/// In milliseconds, rounded down.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A value in the cache, and what must hold for it to be served.
#[derive(Clone, Debug)]
pub struct Entry<V> {
    /// The value.
    pub value: V,
    /// The commit at which it was computed: every read saw at least this one.
    pub as_of: Commit,
    /// The cells of the tags of `depends_on`, for a hit to check.
    pub reads: Reads,
    /// Everything that can invalidate it, by name.
    pub depends_on: Dependencies,
    /// When it was computed; a promoted entry keeps its age.
    pub stored_at: Moment,
    /// How long it took to compute.
    pub compute: Duration,
    /// How long it is fresh after `stored_at`, and what is allowed after that.
    pub lifetime: Lifetime,
    /// The memory that the value takes, without what the cache adds to it.
    pub weight_bytes: u32,
}

impl<V> Entry<V> {
    /// The time since it was computed.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored_at.monotonic)
    }

    /// How much longer it is fresh.
    #[must_use]
    pub fn remaining_ttl(&self, now: Instant) -> Duration {
        self.lifetime.ttl.saturating_sub(self.age(now))
    }

    /// How much longer there is any use in keeping it.
    #[must_use]
    pub fn kept_for(&self, now: Instant) -> Duration {
        self.lifetime.kept().saturating_sub(self.age(now))
    }

    /// Whether its ttl has not passed yet.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime.ttl
    }

    /// Whether nothing that it depends on has changed since it was computed, as far as the table
    /// knows. Load what is applied first: up to there, the value is then what would be computed.
    #[must_use]
    pub fn is_valid(&self, tags: &TagTable) -> bool {
        let as_of = self.as_of.position;
        as_of >= tags.floor() && !self.reads.changed_after(as_of)
    }

    /// How long something that it depends on has been different from what it read, if it is not
    /// [valid](Self::is_valid). This may be overestimated. `None` if it cannot be told.
    #[must_use]
    pub fn changed_since(&self, tags: &TagTable, now: Instant) -> Option<Duration> {
        let as_of = self.as_of.position;
        let first = (as_of >= tags.floor()).then(|| self.reads.first_change_after(as_of))??;
        Some(now.saturating_duration_since(first))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use weir_core::Position;

    use super::*;
    use crate::tag::{Changed, Tag};

    fn entry(as_of: u64, reads: Reads) -> Entry<()> {
        Entry {
            value: (),
            as_of: Commit { position: Position(as_of), ..Commit::ZERO },
            reads,
            depends_on: Dependencies::default(),
            stored_at: Moment::now(),
            compute: Duration::ZERO,
            lifetime: Lifetime::of(Duration::from_secs(10)),
            weight_bytes: 0,
        }
    }

    #[test]
    fn age_and_freshness() {
        let entry = entry(0, Reads::default());
        let start = entry.stored_at.monotonic;
        for (after_ms, fresh, remaining_ms) in
            [(0, true, 10_000), (9_999, true, 1), (10_000, false, 0), (20_000, false, 0)]
        {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(entry.age(now), Duration::from_millis(after_ms));
            assert_eq!(entry.is_fresh(now), fresh, "after {after_ms} ms");
            assert_eq!(entry.remaining_ttl(now), Duration::from_millis(remaining_ms));
        }
        // Another thread may have read the clock a little earlier.
        assert!(start.checked_sub(Duration::from_secs(1)).is_none_or(|now| entry.is_fresh(now)));
    }

    #[test]
    fn the_wall_clock_decides_nothing_about_an_entry() {
        let now = Moment::now();
        for unix_ms in [0, now.unix_ms - 86_400_000, now.unix_ms + 86_400_000, u64::MAX] {
            let mut entry = entry(0, Reads::default());
            entry.stored_at = Moment { unix_ms, ..entry.stored_at };
            let start = entry.stored_at.monotonic;
            assert!(entry.is_fresh(start + Duration::from_millis(9_999)), "{unix_ms}");
            assert!(!entry.is_fresh(start + Duration::from_secs(10)), "{unix_ms}");
        }
    }

    #[test]
    fn validity_follows_what_was_read() {
        let tags = TagTable::new(8, Position(5));
        let (books, films) = (Tag::new("books").unwrap(), Tag::new("films").unwrap());
        let entry = |as_of, read: &[Tag]| entry(as_of, tags.resolve(read));
        let old = entry(4, &[]);
        let unread = entry(5, &[]);
        let reads_books = entry(5, std::slice::from_ref(&books));
        let reads_both = entry(5, &[books.clone(), films.clone()]);
        let ahead = entry(7, std::slice::from_ref(&films));
        let all = [&old, &unread, &reads_books, &reads_both, &ahead];
        let valid = || all.map(|entry| entry.is_valid(&tags));

        assert_eq!(valid(), [false, true, true, true, true]);
        tags.record(&films, Position(6));
        assert_eq!(valid(), [false, true, true, false, true]);
        tags.record(&books, Position(7));
        assert_eq!(valid(), [false, true, false, false, true]);
        tags.raise_floor(Position(9));
        assert_eq!(valid(), [false; 5]);
    }

    #[test]
    fn how_long_ago_it_changed_is_known_as_far_as_it_was_observed() {
        let tags = TagTable::new(8, Position(5));
        let (books, films) = (Tag::new("books").unwrap(), Tag::new("films").unwrap());
        let entry = entry(6, tags.resolve(&[books.clone(), films.clone()]));
        let now = entry.stored_at.monotonic + Duration::from_secs(60);
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let changed = |tag, last, seconds| {
            let changed = Changed { last: Position(last), began: Some(ago(seconds)) };
            tags.record_within(tag, changed, std::iter::empty());
        };
        let changed_since = || entry.changed_since(&tags, now).map(|since| since.as_secs());
        changed(&books, 6, 9);
        assert_eq!(changed_since(), None, "it has seen this change");
        changed(&books, 7, 5);
        assert_eq!(changed_since(), Some(5));
        changed(&films, 8, 2);
        changed(&books, 9, 1);
        assert_eq!(changed_since(), Some(5), "the first change counts");
        tags.record(&films, Position(10));
        assert_eq!(changed_since(), None, "one of them changed nobody knows when");
        let tags = TagTable::new(8, Position(5));
        tags.raise_floor(Position(7));
        assert_eq!(entry.changed_since(&tags, now), None);
    }
}
