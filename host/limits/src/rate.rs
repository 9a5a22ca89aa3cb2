//! A limit on how many units are taken a second.
//!
//! A token bucket that holds what a second brings: after a second without any, all units of a second may be
//! taken at once. It is kept as the one number of the "generic cell rate algorithm" (ITU-T I.371): the time
//! at which the bucket will be full again. So taking a unit is one atomic update, without a lock, and nothing
//! runs in between. Out of scope: waiting for a unit.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Units by the second.
#[derive(Debug)]
pub struct Rate {
    start: Instant,
    /// The time in which one unit comes, in nanoseconds.
    interval: u64,
    /// The time in which the bucket fills, in nanoseconds.
    burst: u64,
    /// When the bucket is full again, in nanoseconds since the start.
    full_at: AtomicU64,
}

impl Rate {
    /// So many units a second, at least one. The bucket is full.
    #[must_use]
    pub fn per_second(units: u32) -> Self {
        let units = u64::from(units.max(1));
        // Rounded up, so that it is never more than that.
        let interval = 1_000_000_000_u64.div_ceil(units);
        let burst = interval * units;
        Self { start: Instant::now(), interval, burst, full_at: AtomicU64::new(0) }
    }

    /// Takes a unit, if there is one at this time. Whoever is refused takes nothing.
    #[must_use]
    pub fn take(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start).as_nanos();
        // More than five hundred years.
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let taken = self.full_at.fetch_update(Relaxed, Relaxed, |full_at| {
            let full_at = full_at.max(now).saturating_add(self.interval);
            (full_at - now <= self.burst).then_some(full_at)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// How many units can be taken at once.
    fn taken(rate: &Rate, after: Duration) -> u32 {
        let now = rate.start + after;
        (0..).take_while(|_| rate.take(now)).count().try_into().unwrap_or(u32::MAX)
    }

    #[test]
    fn units_come_back_one_by_one() {
        let rate = Rate::per_second(4);
        for (at_ms, expected) in [
            (0, 4), // full from the start
            (249, 0),
            (250, 1),
            (750, 2),
            (1_000, 1),
            (1_900, 3),
            (2_000, 1),  // what was left of the time before is not lost
            (60_000, 4), // and no more than the bucket holds
        ] {
            assert_eq!(taken(&rate, Duration::from_millis(at_ms)), expected, "at {at_ms} ms");
        }
    }

    #[test]
    fn a_burst_is_what_a_second_brings() {
        for units in [1, 3, 7, 1_000, 999_999, 1_000_000] {
            assert_eq!(taken(&Rate::per_second(units), Duration::ZERO), units);
        }
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let rate = Rate::per_second(1_000);
        let take = || (0..1_000).filter(|_| rate.take(rate.start)).count();
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        assert_eq!(taken, 1_000);
    }

    proptest! {
        /// In any span of time, no more is taken than a full bucket and what the span brings.
        #[test]
        fn no_span_has_more_than_its_part(
            units in 1_u32..50,
            gaps_ms in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let rate = Rate::per_second(units);
            let mut now = 0;
            let mut times = Vec::new();
            for gap in gaps_ms {
                now += gap;
                if rate.take(rate.start + Duration::from_millis(now)) {
                    times.push(now);
                }
            }
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let most = u64::from(units) + (to - from) * u64::from(units) / 1_000;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
