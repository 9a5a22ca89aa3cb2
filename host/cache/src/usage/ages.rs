//! How old recent hits were: the last few that were noted, and their quantiles.
//!
//! Memory: 8 bytes for each of [`MOST`], 2 KiB.

use std::collections::VecDeque;
use std::time::Duration;

/// How many ages are remembered.
pub const MOST: usize = 256;

/// The last ages that were noted.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    milliseconds: VecDeque<u64>,
}

impl Ages {
    /// Notes an age, and forgets the oldest note if there are too many.
    pub fn note(&mut self, age: Duration) {
        if self.milliseconds.len() == MOST {
            self.milliseconds.pop_front();
        }
        self.milliseconds.push_back(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.milliseconds.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.milliseconds.is_empty()
    }

    /// The age in milliseconds that this percentage of them did not exceed. `None` if there are none.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> Option<u64> {
        let mut sorted = Vec::from_iter(self.milliseconds.iter().copied());
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_ages() {
        let mut ages = Ages::default();
        assert_eq!((ages.percentile_ms(50), ages.is_empty()), (None, true));
        ages.note(Duration::from_millis(7));
        assert_eq!((ages.percentile_ms(50), ages.percentile_ms(99)), (Some(7), Some(7)));
        // Those that are forgotten would be the largest.
        ages.note(Duration::MAX);
        assert_eq!(ages.percentile_ms(100), Some(u64::MAX));
        (1..=MOST as u64).for_each(|ms| ages.note(Duration::from_millis(ms)));
        assert_eq!((ages.len(), ages.percentile_ms(100)), (MOST, Some(MOST as u64)));
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut ages = Ages::default();
        (1..=100).rev().for_each(|ms| ages.note(Duration::from_millis(ms)));
        for (percent, expected) in [(1, 1), (50, 50), (99, 99), (100, 100)] {
            assert_eq!(ages.percentile_ms(percent), Some(expected), "{percent}");
        }
    }
}
