//! Hit-for-miss: remembers the keys whose last answer was not stored.
//!
//! The callers of such a key gain nothing from following a leader, because they cannot use its
//! answer; they would only wait for each other. They go ahead at once instead.
//!
//! Out of scope: why an answer was not stored.

use std::time::Duration;

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::CacheKey;

/// A bounded number of keys, each remembered for a limited time.
pub struct Uncacheable {
    keys: Cache<CacheKey, ()>,
}

impl Uncacheable {
    /// At most `capacity` keys. Each is forgotten `ttl` after it was last noted, since its next
    /// answer may be one that is stored.
    #[must_use]
    pub fn new(capacity: u64, ttl: Duration) -> Self {
        // Evicts by age rather than popularity: the newest key is the one that has callers now.
        let keys = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(ttl)
            .build();
        Self { keys }
    }

    /// Notes that the answer under this key was not stored.
    pub fn note(&self, key: CacheKey) {
        self.keys.insert(key, ());
    }

    /// Whether the answer under this key was recently not stored.
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
