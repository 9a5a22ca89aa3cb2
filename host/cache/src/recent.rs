//! Recent keys: remembers for a short time what led to nothing under which key.
//!
//! The callers of a key whose last answer was not stored gain nothing from following a leader, because
//! they cannot use its answer (hit-for-miss); they would only wait for each other. Nor does anybody
//! gain from refreshing an answer again at once, if that has just failed.
//!
//! Out of scope: what led to nothing, and why.

use std::time::Duration;

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::CacheKey;

/// A bounded number of keys, each remembered for a limited time.
pub struct RecentKeys {
    keys: Cache<CacheKey, ()>,
}

impl RecentKeys {
    /// At most `capacity` keys. Each is forgotten `ttl` after it was last noted, since the next
    /// attempt may lead to something.
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

    /// Notes that something under this key led to nothing.
    pub fn note(&self, key: CacheKey) {
        self.keys.insert(key, ());
    }

    /// Whether something under this key led to nothing recently.
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
        let recent = RecentKeys::new(10, Duration::from_secs(60));
        assert!(!recent.contains(&key(0)));
        for number in 0..=99 {
            recent.note(key(number));
            assert!(recent.contains(&key(number)));
        }
        recent.keys.run_pending_tasks();
        let kept: Vec<_> = (0..=99).filter(|&number| recent.contains(&key(number))).collect();
        assert_eq!(kept, Vec::from_iter(90..=99));
    }

    #[test]
    fn keys_are_forgotten() {
        let recent = RecentKeys::new(10, Duration::ZERO);
        recent.note(key(0));
        assert!(!recent.contains(&key(0)));
    }
}
