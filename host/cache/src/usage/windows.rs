//! Hits and lookups in the last minute, the last five minutes, the last hour, and since the start.
//!
//! Whoever counts has numbers that only grow, and must call [`Windows::turn`] with them every [`TURN`].
//! A window is what was counted since a turn: the turn that is as long ago as the window is wide, so what
//! was counted since the last turn comes on top, up to one turn's time. Memory: 16 bytes for each of
//! [`SAMPLES`] turns, 5.7 KiB, and none while nothing is counted.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::Duration;

use parking_lot::Mutex;

/// How often [`Windows::turn`] must be called.
pub const TURN: Duration = Duration::from_secs(10);
const MINUTE: usize = 6;
const FIVE_MINUTES: usize = 5 * MINUTE;
const HOUR: usize = 60 * MINUTE;
/// How many turns are remembered: an hour's, and the one that it begins with.
pub const SAMPLES: usize = HOUR + 1;

/// How many of some lookups were hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that were hits.
    pub hits: u64,
    /// All of them.
    pub lookups: u64,
}

impl Share {
    /// Hits for each lookup, from 0 to 1; `None` if there were no lookups.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.lookups > 0).then(|| self.hits as f64 / self.lookups as f64)
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(earlier.hits),
            lookups: self.lookups.saturating_sub(earlier.lookups),
        }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.lookups += other.lookups;
    }
}

/// The shares of each window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Of the last minute, and up to 10 s before it.
    pub last_minute: Share,
    /// Of the last five minutes, likewise.
    pub last_five_minutes: Share,
    /// Of the last hour, likewise.
    pub last_hour: Share,
    /// Since counting began.
    pub since_start: Share,
}

impl AddAssign for Shares {
    fn add_assign(&mut self, other: Self) {
        self.last_minute += other.last_minute;
        self.last_five_minutes += other.last_five_minutes;
        self.last_hour += other.last_hour;
        self.since_start += other.since_start;
    }
}

/// What had been counted at each of the last turns.
#[derive(Debug, Default)]
pub struct Windows(Mutex<VecDeque<Share>>);

impl Windows {
    /// Remembers what has been counted by `now`.
    pub fn turn(&self, now: Share) {
        let mut samples = self.0.lock();
        if samples.is_empty() && now == Share::default() {
            // Before the first of them, nothing was counted.
            return;
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(now);
    }

    /// The shares, if so much has been counted by `now`.
    #[must_use]
    pub fn shares(&self, now: Share) -> Shares {
        let samples = self.0.lock();
        let within = |turns: usize| {
            let began = samples.len().checked_sub(turns + 1).and_then(|index| samples.get(index));
            now.since(began.copied().unwrap_or_default())
        };
        Shares {
            last_minute: within(MINUTE),
            last_five_minutes: within(FIVE_MINUTES),
            last_hour: within(HOUR),
            since_start: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTHS: [usize; 3] = [MINUTE, FIVE_MINUTES, HOUR];

    /// The shares of the windows, the narrowest first.
    fn windows(shares: Shares) -> [Share; 3] {
        [shares.last_minute, shares.last_five_minutes, shares.last_hour]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_window_is_what_was_counted_since_the_turn_that_is_as_long_ago(
            slices in prop::collection::vec((0..1_000_u64, 0..1_000_u64), 0..800),
        ) {
            let windows_of = Windows::default();
            let mut now = Share::default();
            for (index, (hits, misses)) in slices.iter().enumerate() {
                now += Share { hits: *hits, lookups: hits + misses };
                for (width, share) in WIDTHS.into_iter().zip(windows(windows_of.shares(now))) {
                    // What is being counted, and as many whole slices as the window has.
                    let mut expected = Share::default();
                    for (hits, misses) in &slices[index.saturating_sub(width)..=index] {
                        expected += Share { hits: *hits, lookups: hits + misses };
                    }
                    prop_assert_eq!(share, expected);
                }
                prop_assert_eq!(windows_of.shares(now).since_start, now);
                windows_of.turn(now);
                prop_assert!(windows_of.0.lock().len() <= SAMPLES);
            }
        }
    }

    #[test]
    fn a_hit_leaves_each_window_after_its_time() {
        let counted = Windows::default();
        let now = Share { hits: 1, lookups: 2 };
        let none = Share::default();
        for turns in 0..=HOUR {
            // It was in the slice that was being recorded, and then in a whole one.
            let expected = WIDTHS.map(|width| if turns < width + 1 { now } else { none });
            assert_eq!(windows(counted.shares(now)), expected, "after {turns} turns");
            counted.turn(now);
        }
        assert_eq!(windows(counted.shares(now)), [none; 3]);
        assert_eq!(counted.shares(now).since_start, now);
    }

    #[test]
    fn what_is_idle_takes_no_memory_and_has_no_ratio() {
        let counted = Windows::default();
        (0..10).for_each(|_| counted.turn(Share::default()));
        assert_eq!(counted.0.lock().capacity(), 0);
        assert_eq!(counted.shares(Share::default()).last_minute.ratio(), None);
        let now = Share { hits: 3, lookups: 4 };
        assert_eq!(counted.shares(now).last_hour.ratio(), Some(0.75));
    }
}
