//! Whether more comes than is done, for longer than in a burst.
//!
//! A queue alone does not tell. With sixty clients that each ask again when they have their answer, some
//! always wait, but no more come than are answered, and to refuse one would gain nothing. If more
//! come than are answered, the queue grows until somebody is refused, and a long one only makes all others
//! wait longer.

use std::time::{Duration, Instant};

/// What comes and ends is compared at most this often, …
const INTERVAL: Duration = Duration::from_millis(100);
/// … and only when so much has ended.
const LEAST_ENDED: u64 = 8;
/// After so many intervals in each of which a quarter more came than ended, it is not a burst.
const INTERVALS: u32 = 2;

/// Compares how much comes with how much ends.
#[derive(Debug, Default)]
pub(super) struct Excess {
    /// When the current interval began; `None` before anything has ended.
    began: Option<Instant>,
    ended: u64,
    /// How much had come when the interval began.
    came: u64,
    /// In how many intervals, up to the last, more came than ended.
    intervals: u32,
}

impl Excess {
    /// Notes that something ended `at` a time. By then, so much `came` in all.
    pub(super) fn ended(&mut self, at: Instant, came: u64) {
        let Some(began) = self.began else {
            *self = Self { began: Some(at), came, ..Self::default() };
            return;
        };
        self.ended += 1;
        if at.saturating_duration_since(began) < INTERVAL || self.ended < LEAST_ENDED {
            return;
        }
        let is_more = (came - self.came) * 4 > self.ended * 5;
        let intervals = if is_more { self.intervals.saturating_add(1) } else { 0 };
        *self = Self { began: Some(at), ended: 0, came, intervals };
    }

    /// Whether more comes than is done, and has for a while.
    pub(super) fn lasts(&self) -> bool {
        self.intervals >= INTERVALS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is an excess after each interval, in which so much comes while 20 end.
    fn after(coming: &[u64]) -> Vec<bool> {
        let (mut excess, mut at, mut came) = (Excess::default(), Instant::now(), 0);
        excess.ended(at, came);
        let interval = |&more: &u64| {
            came += more;
            for _ in 0..20 {
                at += INTERVAL / 20;
                excess.ended(at, came);
            }
            excess.lasts()
        };
        coming.iter().map(interval).collect()
    }

    #[test]
    fn more_has_to_come_than_ends_in_interval_after_interval() {
        for (coming, excess) in [
            // As much as ends, after a burst.
            ([84, 20, 20, 20, 20], [false; 5]),
            ([84, 22, 84, 19, 84], [false; 5]),
            ([24; 5], [false; 5]),
            ([26; 5], [false, true, true, true, true]),
            ([100, 100, 100, 20, 100], [false, true, true, false, false]),
        ] {
            assert_eq!(after(&coming), excess, "{coming:?}");
        }
    }

    #[test]
    fn an_interval_is_as_long_as_it_takes_until_enough_has_ended() {
        let (mut excess, mut at) = (Excess::default(), Instant::now());
        for number in 0..=2 * LEAST_ENDED {
            excess.ended(at, 10 * number);
            at += 10 * INTERVAL;
            assert_eq!(excess.lasts(), number == 2 * LEAST_ENDED);
        }
    }
}
