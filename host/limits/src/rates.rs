//! A limit on what each of many keys takes a second, by making whoever takes more wait.
//!
//! A key may save up what a second brings. What it takes beyond that is a debt, and lets it wait until
//! the debt is paid: see [`rate`](crate::rate) for how that is kept in one number, which is forgotten as
//! soon as it says nothing. Out of scope: the waiting itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What a key may save up.
const SAVED: Duration = Duration::from_secs(1);
/// The longest that a key has to wait, however much it takes.
const MAX_DEBT: Duration = Duration::from_secs(10);
/// As many keys are kept before those that owe nothing are looked for.
const FEW_KEYS: usize = 64;

/// Units by the second, for each key.
#[derive(Debug)]
pub struct Rates<K> {
    /// The time in which one unit comes.
    interval: Duration,
    keys: Mutex<Keys<K>>,
}

#[derive(Debug)]
struct Keys<K> {
    /// When a key will have saved up all that it may.
    full_at: HashMap<K, Instant>,
    /// How many there may be before those that have are forgotten.
    look_at: usize,
}

impl<K: Hash + Eq> Rates<K> {
    /// So many units a second for each key, at least one.
    #[must_use]
    pub fn per_second(units: u32) -> Self {
        let keys = Keys { full_at: HashMap::new(), look_at: FEW_KEYS };
        Self { interval: Duration::from_secs(1) / units.max(1), keys: Mutex::new(keys) }
    }

    /// Takes units `now`. Returns how long the key has to wait until it may use them.
    pub fn take(&self, key: K, units: u32, now: Instant) -> Duration {
        let mut keys = self.keys.lock();
        if keys.full_at.len() >= keys.look_at {
            keys.full_at.retain(|_, full_at| *full_at > now);
            keys.look_at = FEW_KEYS.max(2 * keys.full_at.len());
        }
        let full_at = keys.full_at.entry(key).or_insert(now);
        let latest = now + SAVED + MAX_DEBT;
        *full_at = ((*full_at).max(now) + self.interval.saturating_mul(units)).min(latest);
        full_at.saturating_duration_since(now).saturating_sub(SAVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_waits_for_what_it_takes_beyond_its_rate() {
        let (rates, now) = (Rates::per_second(10), Instant::now());
        for _ in 0..10 {
            assert_eq!(rates.take("a", 1, now), Duration::ZERO);
        }
        assert_eq!(rates.take("a", 1, now), SECOND / 10);
        assert_eq!(rates.take("a", 4, now), SECOND / 2);
        assert_eq!(rates.take("b", 1, now), Duration::ZERO, "another key");
        // It has paid, and saved up half of what it may.
        assert_eq!(rates.take("a", 5, now + 2 * SECOND), Duration::ZERO);
        assert_eq!(rates.take("a", 6, now + 2 * SECOND), SECOND / 10);
    }

    #[test]
    fn a_debt_has_an_end() {
        let (rates, now) = (Rates::per_second(10), Instant::now());
        assert_eq!(rates.take("a", 1_000_000, now), MAX_DEBT);
        assert_eq!(rates.take("a", 1, now + SAVED + MAX_DEBT), Duration::ZERO);
    }

    #[test]
    fn a_key_that_owes_nothing_is_forgotten() {
        let (rates, now) = (Rates::per_second(10), Instant::now());
        for key in 0..10_000_u32 {
            rates.take(key, 1, now + SECOND * (key / 10));
        }
        assert!(rates.keys.lock().full_at.len() <= FEW_KEYS);
    }
}
