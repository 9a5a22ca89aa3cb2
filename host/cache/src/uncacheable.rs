//! Hit-for-miss: a memory of keys whose answers turned out not to be stored.
//!
//! Callers of such a key would gain nothing by following a leader, because its answer is
//! not theirs to share; they would only wait in a row. They are told to go ahead.
//!
//! Left out: why an answer was not stored.

use std::time::Duration;

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::CacheKey;

/// The keys, up to a number, each for a while.
pub struct Uncacheable {
    keys: Cache<CacheKey, ()>,
}

impl Uncacheable {
    /// At most `capacity` keys, each forgotten `ttl` after it was noted last: an answer
    /// may become one that is stored.
    #[must_use]
    pub fn new(capacity: u64, ttl: Duration) -> Self {
        // By age and not by popularity: the newest key is the one that has callers now.
        let keys = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(ttl)
            .build();
        Self { keys }
    }

    /// The answer under this key was not stored.
    pub fn note(&self, key: CacheKey) {
        self.keys.insert(key, ());
    }

    /// Whether the answer under this key was not stored of late.
    #[must_use]
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.keys.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> CacheKey {
        CacheKey::from_bytes([number; 32])
    }

    #[test]
    fn keys_are_remembered_up_to_the_capacity() {
        let uncacheable = Uncacheable::new(10, Duration::from_secs(60));
        assert!(!uncacheable.contains(&key(0)));
        for number in 0..=99 {
            uncacheable.note(key(number));
            assert!(uncacheable.contains(&key(number)));
        }
        uncacheable.keys.run_pending_tasks();
        let kept: Vec<_> = (0..=99).filter(|&number| uncacheable.contains(&key(number))).collect();
        assert_eq!(kept, Vec::from_iter(90..=99));
    }

    #[test]
    fn keys_are_forgotten() {
        let uncacheable = Uncacheable::new(10, Duration::ZERO);
        uncacheable.note(key(0));
        assert!(!uncacheable.contains(&key(0)));
    }
}
