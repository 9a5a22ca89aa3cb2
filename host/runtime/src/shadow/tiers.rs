//! Simulated memory tiers: of the size of the real ones, with the same store, and with entries that weigh what
//! real ones would and hold no answer.
//!
//! An entry takes memory even so. When all take more than they may, half of the keys are not simulated any more, by
//! a hash of the key, in tiers of half the size: a key is simulated as a whole or not at all, so the share of hits
//! stays what it is (Waldspurger et al., "Efficient MRC construction with SHARDS", FAST 2015). Out of scope: when
//! an entry is a hit (`side`).

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_cache::CacheKey;
use weir_cache::entry::Entry;
use weir_cache::memory::{MemoryTier, NotStored};
use weir_cache::usage::holding::{Held, Holding};
use weir_core::name::Name;

use super::event::TierSize;

/// What an entry takes without what it depends on, as `weir_cache::memory` has measured it, and the entry.
const ENTRY_BYTES: usize = 420 + size_of::<Entry<Simulated>>();
/// After so many insertions it is looked whether they take more than they may.
const LOOK_EVERY: u64 = 256;

/// What is in the place of an answer.
pub(super) struct Simulated {
    /// The answer's validator.
    pub(super) validator: u128,
    /// The deployed policy's key of the request that led to it.
    pub(super) deployed_key: Option<CacheKey>,
    _held: Held,
}

/// The tiers of all tenants under one policy.
pub(super) struct Tiers {
    of_tenants: BTreeMap<Name, (TierSize, MemoryTier<Simulated>)>,
    holding: Arc<Holding>,
    max_bytes: u64,
    insertions: u64,
    /// One key in 2^this is simulated.
    halvings: u32,
}

impl Tiers {
    /// Tiers whose entries really take at most about `max_bytes`.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            of_tenants: BTreeMap::new(),
            holding: Arc::default(),
            max_bytes,
            insertions: 0,
            halvings: 0,
        }
    }

    /// How many keys each stands for that is simulated.
    pub(super) fn each_stands_for(&self) -> u64 {
        1 << self.halvings
    }

    /// Whether this key is simulated.
    pub(super) fn has(&self, key: &CacheKey) -> bool {
        is_kept(key, self.halvings)
    }

    /// How many entries there are, and what they really take, in bytes.
    pub(super) fn held(&self) -> (u64, u64) {
        self.holding.held()
    }

    pub(super) fn get(&self, tenant: &Name, key: &CacheKey) -> Option<Arc<Entry<Simulated>>> {
        let (_, tier) = self.of_tenants.get(tenant)?;
        tier.get_kept(key)
    }

    pub(super) fn remove(&self, tenant: &Name, key: &CacheKey) {
        if let Some((_, tier)) = self.of_tenants.get(tenant) {
            tier.remove(key);
        }
    }

    /// Stores an entry, whose answer has this validator.
    pub(super) fn insert(
        &mut self,
        tenant: &Name,
        size: TierSize,
        key: CacheKey,
        entry: Entry<u128>,
        deployed_key: Option<CacheKey>,
    ) -> Result<(), NotStored> {
        let bytes = ENTRY_BYTES + entry.depends_on.weight_bytes();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let value = Simulated {
            validator: entry.value,
            deployed_key,
            _held: Held::new(&self.holding, bytes),
        };
        let Entry { as_of, reads, depends_on, stored_at, compute, lifetime, weight_bytes, .. } =
            entry;
        let entry =
            Entry { value, as_of, reads, depends_on, stored_at, compute, lifetime, weight_bytes };
        let halvings = self.halvings;
        let (_, tier) = self.of_tenants.entry(tenant.clone()).or_insert_with(|| {
            let max_bytes = size.max_bytes >> halvings;
            (size, MemoryTier::new(max_bytes).with_max_entry_bytes(size.max_entry_bytes))
        });
        tier.insert(key, entry)?;
        self.insertions += 1;
        if self.insertions.is_multiple_of(LOOK_EVERY) && self.held().1 > self.max_bytes {
            self.halve();
        }
        Ok(())
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let halvings = self.halvings;
        for (size, tier) in self.of_tenants.values_mut() {
            let thinned = tier.thinned(size.max_bytes >> halvings, |key| is_kept(key, halvings));
            *tier = thinned;
        }
    }
}

fn is_kept(key: &CacheKey, halvings: u32) -> bool {
    // Not the bytes that decide about jitter, and not those that tables use.
    let [.., a, b, c, d, _, _, _, _] = *key.as_bytes();
    u32::from_le_bytes([a, b, c, d]).checked_shr(u32::BITS - halvings.min(31)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::time::Duration;

    use weir_cache::entry::Moment;
    use weir_cache::key::{KeyBuilder, KeyPrefix};
    use weir_cache::lifetime::Lifetime;
    use weir_cache::reads::Dependencies;
    use weir_cache::tag::Reads;
    use weir_core::Commit;

    use super::*;

    const SIZE: TierSize = TierSize { max_bytes: 64 << 20, max_entry_bytes: 1 << 20 };

    fn key(number: u32) -> CacheKey {
        KeyBuilder::new(&KeyPrefix::new(&[])).part(&number.to_le_bytes()).finish()
    }

    fn entry(validator: u128) -> Entry<u128> {
        Entry {
            value: validator,
            as_of: Commit::ZERO,
            reads: Reads::default(),
            depends_on: Dependencies::default(),
            stored_at: Moment::now(),
            compute: Duration::ZERO,
            lifetime: Lifetime::of(Duration::from_secs(60)),
            weight_bytes: 1_000,
        }
    }

    #[test]
    fn tiers_that_take_too_much_simulate_half_of_the_keys_each_as_a_whole() {
        let tenant = Name::new("acme").unwrap();
        let mut tiers = Tiers::new(1_000 * ENTRY_BYTES as u64);
        for number in 0..4_000 {
            if tiers.has(&key(number)) {
                tiers.insert(&tenant, SIZE, key(number), entry(number.into()), None).unwrap();
            }
        }
        assert!(tiers.each_stands_for() >= 4, "{}", tiers.each_stands_for());
        let (entries, _) = tiers.held();
        assert!(entries < 2_000, "{entries}");
        let kept: Vec<_> = (0..4_000).filter(|number| tiers.has(&key(*number))).collect();
        let expected = 4_000 / tiers.each_stands_for();
        assert!((kept.len() as u64).abs_diff(expected) < expected / 4, "{}", kept.len());
        for number in 0..4_000 {
            let found = tiers.get(&tenant, &key(number)).map(|entry| entry.value.validator);
            assert_eq!(found, tiers.has(&key(number)).then_some(number.into()), "{number}");
        }
    }

    #[test]
    fn a_tenant_has_a_tier_of_its_own_size() {
        let [small, large] = ["small", "large"].map(|name| Name::new(name).unwrap());
        let mut tiers = Tiers::new(1 << 20);
        let size = TierSize { max_bytes: 10_000, ..SIZE };
        for number in 0..200 {
            tiers.insert(&small, size, key(number), entry(0), None).unwrap();
            tiers.insert(&large, SIZE, key(number), entry(0), None).unwrap();
        }
        let count =
            |tenant| (0..200).filter(|number| tiers.get(tenant, &key(*number)).is_some()).count();
        tiers.of_tenants.values().for_each(|(_, tier)| tier.run_housekeeping());
        assert!(count(&small) < 10, "{}", count(&small));
        assert_eq!(count(&large), 200);
        let too_large = TierSize { max_entry_bytes: 10, ..SIZE };
        let third = Name::new("third").unwrap();
        assert!(tiers.insert(&third, too_large, key(0), entry(0), None).is_err());
    }
}
