//! The memory tier: entries by key, bounded by the memory that they take.
//!
//! moka serves only as the store. Its loaders are not used, because they insert what they loaded
//! even if it was invalidated in the meantime; see [`single_flight`](crate::single_flight).
//!
//! Out of scope: whether an entry is still true. If values can change, the caller checks
//! [`Entry::is_valid`].

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, sync::Cache};

use crate::{CacheKey, entry::Entry};

/// What the store adds to each entry: the key, counters, slots in a table, in queues and in
/// timers, and the allocator's overhead. Measured with moka 0.12.16 and 200,000 entries of 80
/// bytes, which took 500 bytes each.
const STORE_BYTES_AN_ENTRY: usize = 420;

/// A cell of an entry's reads.
const CELL_BYTES: usize = size_of::<usize>();

/// Longer than any entry lives, and short enough to add to any instant.
const LONGEST_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Why an entry was not stored. Its answer is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// It is larger than the limit for entries.
    #[error("the entry takes {weight_bytes} bytes; at most {max_entry_bytes} are stored")]
    TooHeavy {
        /// The memory that it would take, everything included.
        weight_bytes: u32,
        /// The limit.
        max_entry_bytes: u32,
    },
    /// It is so old that it may not be served any more.
    #[error("the entry has expired")]
    Expired,
}

/// Entries in the memory of this process.
pub struct MemoryTier<V> {
    store: Cache<CacheKey, Arc<Entry<V>>>,
    max_entry_bytes: u32,
}

impl<V: Send + Sync + 'static> MemoryTier<V> {
    /// A tier for entries that take at most `max_bytes` together.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let store = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry<V>>| weigh(entry))
            .expire_after(RemainingLife(PhantomData))
            .build();
        Self { store, max_entry_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX) }
    }

    /// Makes the tier refuse every entry that takes more than `max_entry_bytes`.
    #[must_use]
    pub fn with_max_entry_bytes(mut self, max_entry_bytes: u32) -> Self {
        self.max_entry_bytes = self.max_entry_bytes.min(max_entry_bytes);
        self
    }

    /// A tier for at most `max_bytes` with those of its entries whose keys are to be kept.
    #[must_use]
    pub fn thinned(&self, max_bytes: u64, is_kept: impl Fn(&CacheKey) -> bool) -> Self {
        let thinned = Self::new(max_bytes).with_max_entry_bytes(self.max_entry_bytes);
        for (key, entry) in self.store.iter().filter(|(key, _)| is_kept(key)) {
            thinned.store.insert(*key, entry);
        }
        thinned
    }

    /// The entry under this key, if it is fresh.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry<V>>> {
        self.get_at(key, Instant::now)
    }

    /// Whether there is an entry under this key. Does not count as a use, and may be wrong about one
    /// whose ttl is about to pass.
    #[must_use]
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.store.contains_key(key)
    }

    /// The entry under this key, fresh or not.
    #[must_use]
    pub fn get_kept(&self, key: &CacheKey) -> Option<Arc<Entry<V>>> {
        self.store.get(key)
    }

    /// Checks the ttl here, because moka reads its own clock and rounds.
    fn get_at(&self, key: &CacheKey, now: impl FnOnce() -> Instant) -> Option<Arc<Entry<V>>> {
        self.store.get(key).filter(|entry| entry.is_fresh(now()))
    }

    /// Stores an entry and replaces the one that the key had. Returns the memory that it takes, everything
    /// included, in bytes.
    ///
    /// # Errors
    ///
    /// The entry is too large or has expired. The one that the key had is removed even then,
    /// because it is older.
    pub fn insert(&self, key: CacheKey, entry: impl Into<Arc<Entry<V>>>) -> Result<u32, NotStored> {
        let entry = entry.into();
        let (weight_bytes, max_entry_bytes) = (weigh(&entry), self.max_entry_bytes);
        let refused = if weight_bytes > max_entry_bytes {
            NotStored::TooHeavy { weight_bytes, max_entry_bytes }
        } else if entry.kept_for(Instant::now()).is_zero() {
            NotStored::Expired
        } else {
            self.store.insert(key, entry);
            return Ok(weight_bytes);
        };
        self.remove(&key);
        Err(refused)
    }

    /// Removes the entry under this key.
    pub fn remove(&self, key: &CacheKey) {
        self.store.invalidate(key);
    }

    /// The memory that all entries take in bytes, as of the store's last housekeeping.
    #[must_use]
    pub fn weighed_bytes(&self) -> u64 {
        self.store.weighted_size()
    }

    /// The number of entries, as of the store's last housekeeping.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.store.entry_count()
    }

    /// Evicts, expires and counts now, rather than on the next accesses.
    pub fn run_housekeeping(&self) {
        self.store.run_pending_tasks();
    }
}

/// The memory that an entry takes: its value, and everything around it.
fn weigh<V>(entry: &Entry<V>) -> u32 {
    let around = STORE_BYTES_AN_ENTRY
        + size_of::<Entry<V>>()
        + entry.reads.len() * CELL_BYTES
        + entry.depends_on.weight_bytes();
    entry.weight_bytes.saturating_add(u32::try_from(around).unwrap_or(u32::MAX))
}

/// Tells the store when an entry expires: a promoted one has only the rest of its life.
struct RemainingLife<V>(PhantomData<fn(V)>);

impl<V> Expiry<CacheKey, Arc<Entry<V>>> for RemainingLife<V> {
    fn expire_after_create(
        &self,
        _key: &CacheKey,
        entry: &Arc<Entry<V>>,
        created_at: Instant,
    ) -> Option<Duration> {
        Some(entry.kept_for(created_at).min(LONGEST_TTL))
    }

    fn expire_after_update(
        &self,
        key: &CacheKey,
        entry: &Arc<Entry<V>>,
        updated_at: Instant,
        _until_expiry: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, updated_at)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use weir_core::Commit;

    use crate::entry::Moment;
    use crate::lifetime::Lifetime;
    use crate::reads::{Dependencies, Read, ReadSet};
    use crate::tag::Reads;
    use weir_core::name::Name;

    fn key(number: u8) -> CacheKey {
        CacheKey::from_bytes([number; 32])
    }

    fn entry<V>(value: V, weight_bytes: u32) -> Entry<V> {
        Entry {
            value,
            as_of: Commit::ZERO,
            reads: Reads::default(),
            depends_on: Dependencies::default(),
            stored_at: Moment::now(),
            compute: Duration::ZERO,
            lifetime: Lifetime::of(Duration::from_secs(60)),
            weight_bytes,
        }
    }

    #[test]
    fn entries_are_found_replaced_and_removed() {
        let tier = MemoryTier::new(1 << 20);
        assert!(tier.get(&key(1)).is_none());
        tier.insert(key(1), entry("old", 3)).unwrap();
        tier.insert(key(1), entry("new", 3)).unwrap();
        tier.insert(key(2), Arc::new(entry("other", 5))).unwrap();
        assert!(tier.contains(&key(2)) && !tier.contains(&key(3)));
        assert_eq!(tier.get(&key(1)).unwrap().value, "new");
        tier.remove(&key(1));
        assert!(tier.get(&key(1)).is_none());
        assert_eq!(tier.get(&key(2)).unwrap().value, "other");
        tier.run_housekeeping();
        assert_eq!(tier.entries(), 1);
        assert_eq!(tier.weighed_bytes(), u64::from(weigh(&entry("other", 5))));
    }

    #[test]
    fn the_ttl_counts_from_when_the_value_was_computed() {
        let tier = MemoryTier::new(1 << 20);
        let fresh = entry((), 0);
        let (stored_at, ttl) = (fresh.stored_at.monotonic, fresh.lifetime.ttl);
        tier.insert(key(1), fresh).unwrap();
        assert!(tier.get_at(&key(1), || stored_at + ttl - Duration::from_nanos(1)).is_some());
        assert!(tier.get_at(&key(1), || stored_at + ttl).is_none());

        // A new entry does not inherit the rest of the old one's ttl.
        let expired = Entry { lifetime: Lifetime::of(Duration::ZERO), ..entry((), 0) };
        assert_eq!(tier.insert(key(1), expired), Err(NotStored::Expired));
        assert!(tier.get(&key(1)).is_none());
        let forever = Entry { lifetime: Lifetime::of(Duration::MAX), ..entry((), 0) };
        tier.insert(key(1), forever).unwrap();
        assert!(tier.get_at(&key(1), || stored_at + ttl * 2).is_some());
    }

    #[test]
    fn an_entry_that_may_be_served_stale_is_kept() {
        let tier = MemoryTier::new(1 << 20);
        let aged = |seconds, stale_if_error| {
            let mut entry = entry((), 0);
            let age = Duration::from_secs(seconds);
            entry.stored_at.monotonic = entry.stored_at.monotonic.checked_sub(age).unwrap();
            entry.lifetime.stale_if_error = Duration::from_secs(stale_if_error);
            entry
        };
        assert_eq!(tier.insert(key(1), aged(70, 5)), Err(NotStored::Expired));
        tier.insert(key(1), aged(70, 3_600)).unwrap();
        assert!(tier.get(&key(1)).is_none(), "it is not fresh");
        assert!(tier.get_kept(&key(1)).is_some());
    }

    #[test]
    fn large_entries_are_refused() {
        let around = weigh(&entry((), 0));
        let tier = MemoryTier::new(1 << 20).with_max_entry_bytes(around + 100);
        tier.insert(key(1), entry((), 100)).unwrap();
        let refused =
            NotStored::TooHeavy { weight_bytes: around + 101, max_entry_bytes: around + 100 };
        assert_eq!(tier.insert(key(1), entry((), 101)), Err(refused));
        assert!(tier.get(&key(1)).is_none(), "an older answer must not outlive a newer one");

        let small = MemoryTier::new(100);
        assert!(matches!(small.insert(key(1), entry((), 1)), Err(NotStored::TooHeavy { .. })));
        assert!(matches!(
            small.insert(key(1), entry((), u32::MAX)),
            Err(NotStored::TooHeavy { weight_bytes: u32::MAX, .. })
        ));
    }

    #[test]
    fn a_thinned_tier_has_the_entries_that_are_kept() {
        let tier = MemoryTier::new(1 << 20);
        for number in 0..20 {
            tier.insert(key(number), entry(number, 10)).unwrap();
        }
        let thinned = tier.thinned(1 << 19, |key| key.as_bytes()[0] % 2 == 0);
        for number in 0..20 {
            let kept = thinned.get(&key(number)).map(|entry| entry.value);
            assert_eq!(kept, (number % 2 == 0).then_some(number));
        }
        thinned.run_housekeeping();
        assert_eq!(thinned.entries(), 10);
    }

    #[test]
    fn the_dependencies_of_an_entry_add_to_its_weight() {
        let read = Read::Collection(Name::new("books").unwrap());
        let depends_on = Dependencies::new(ReadSet::from_iter([read]), Vec::new());
        let named = depends_on.weight_bytes() as u32;
        let heavier = Entry { depends_on, ..entry((), 0) };
        assert_eq!(weigh(&heavier), weigh(&entry((), 0)) + named);
    }

    #[test]
    fn weight_is_bounded() {
        let max_bytes = 20 * u64::from(weigh(&entry((), 1000)));
        let tier = MemoryTier::new(max_bytes);
        for number in 0..=255 {
            tier.insert(key(number), entry((), 1000)).unwrap();
        }
        tier.run_housekeeping();
        assert!(tier.weighed_bytes() <= max_bytes);
        assert_eq!(tier.entries(), 20);
    }

    /// moka 0.12.15 leaked the values of replaced entries (its issue 590).
    #[test]
    fn reusing_keys_does_not_grow() {
        const KEYS: u8 = 16;
        let tier = MemoryTier::new(1 << 20);
        let counted = Arc::new(());
        for round in 0..20_000_u32 {
            let number = (round % u32::from(KEYS)) as u8;
            tier.insert(key(number), entry(counted.clone(), 10)).unwrap();
            if round % 3 == 0 {
                tier.remove(&key(number));
            }
            if round % 7 == 0 {
                let _ = tier.get(&key(number));
            }
        }
        tier.run_housekeeping();
        let alive = Arc::strong_count(&counted) - 1;
        assert!(tier.entries() <= u64::from(KEYS));
        assert!(alive <= usize::from(KEYS), "{alive} values are still alive");
        assert_eq!(tier.weighed_bytes(), tier.entries() * u64::from(weigh(&entry(counted, 10))));
    }
}
