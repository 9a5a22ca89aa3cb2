//! The keys that are seen most often, from a bounded number of counters.
//!
//! This is Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k
//! elements in data streams", 2005). A key that has no counter takes over the smallest one with its
//! count, so a count is never too small, and too large by at most what was taken over. With `m` counters
//! and `n` keys seen, that is at most `n / m`, and every key that was seen more often has a counter.
//!
//! Memory: 48 bytes a counter, 6 KiB in all. Looking for a counter is linear, because there are few and
//! only a sample of hits is noted.

use std::cmp::Reverse;

use crate::CacheKey;

/// How many counters there are.
pub const COUNTERS: usize = 128;

/// A key, and how often it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hot {
    /// The key.
    pub key: CacheKey,
    /// How often it was seen at most.
    pub seen: u64,
    /// By how much that may be too large.
    pub over: u64,
}

/// Counts the most frequent keys.
#[derive(Debug, Default)]
pub struct Hottest {
    counters: Vec<Hot>,
    seen: u64,
}

impl Hottest {
    /// Counts a key that was seen.
    pub fn note(&mut self, key: CacheKey) {
        self.seen += 1;
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.key == key) {
            counter.seen += 1;
        } else if self.counters.len() < COUNTERS {
            self.counters.push(Hot { key, seen: 1, over: 0 });
        } else if let Some(smallest) = self.counters.iter_mut().min_by_key(|counter| counter.seen) {
            *smallest = Hot { key, seen: smallest.seen + 1, over: smallest.seen };
        }
    }

    /// How many keys were seen, the same ones too.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The `most` keys that were seen most often, beginning with the most frequent one.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<Hot> {
        let mut all = self.counters.clone();
        all.sort_unstable_by_key(|hot| (Reverse(hot.seen), hot.over, hot.key));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u32) -> CacheKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        CacheKey::from_bytes(bytes)
    }

    /// Keys of which the first are much more frequent than the last, as Zipf's law has it. With an exponent
    /// near 0, all are about as frequent.
    fn zipf_like(keys: u32, exponent: f64, draws: Vec<f64>) -> Vec<CacheKey> {
        let weights = (1..=keys).map(|rank| f64::from(rank).powf(-exponent));
        let cumulated: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let total = cumulated.last().copied().unwrap_or_default();
        let drawn = |draw: f64| cumulated.partition_point(|sum| *sum < draw * total) as u32;
        draws.into_iter().map(|draw| key(drawn(draw).min(keys - 1))).collect()
    }

    fn assert_bounds(stream: &[CacheKey]) {
        let (mut hottest, mut exact) = (Hottest::default(), HashMap::<CacheKey, u64>::new());
        for key in stream {
            hottest.note(*key);
            *exact.entry(*key).or_default() += 1;
        }
        let n = stream.len() as u64;
        assert_eq!(hottest.seen(), n);
        let all = hottest.top(usize::MAX);
        assert!(all.len() <= COUNTERS);
        assert_eq!(
            all.iter().map(|hot| hot.seen).sum::<u64>(),
            n,
            "no more is counted than was seen"
        );
        let most_over = n / COUNTERS as u64;
        for hot in &all {
            let exact = exact[&hot.key];
            assert!(hot.over <= most_over, "{hot:?}");
            assert!(hot.seen - hot.over <= exact && exact <= hot.seen, "{hot:?}: {exact}");
        }
        for (key, exact) in exact.iter().filter(|(_, exact)| **exact > most_over) {
            assert!(all.iter().any(|hot| hot.key == *key), "{key}, seen {exact} times");
        }
        assert!(all.is_sorted_by_key(|hot| Reverse(hot.seen)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn counts_are_within_their_bounds(
            keys in 1..5_000_u32,
            exponent in 0.0..2.0_f64,
            draws in prop::collection::vec(0.0..1.0_f64, 0..8_000),
        ) {
            assert_bounds(&zipf_like(keys, exponent, draws));
        }

        #[test]
        fn also_when_few_keys_come_between_many_that_come_once(
            hot in prop::collection::vec(0..3_u32, 1_000..4_000),
        ) {
            let once = |index: usize| key(1_000 + index as u32);
            let stream = hot.iter().enumerate().flat_map(|(index, hot)| [once(index), key(*hot)]);
            assert_bounds(&stream.collect::<Vec<_>>());
        }
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut hottest = Hottest::default();
        for number in 0..COUNTERS as u32 {
            (0..=number).for_each(|_| hottest.note(key(number)));
        }
        let top: Vec<_> = hottest.top(3).iter().map(|hot| (hot.key, hot.seen, hot.over)).collect();
        assert_eq!(top, [(key(127), 128, 0), (key(126), 127, 0), (key(125), 126, 0)]);
    }
}
