//! How long a lookup may take: as long as lookups take, and some more.
//!
//! What a lookup waits is lost if the answer is not there. So a store that answers within a millisecond is not
//! waited for as long as one that needs ten: a call that takes much longer than its like has most likely
//! met a stall, and the request goes on without it. The estimate is that of TCP's retransmission timer: the
//! mean and four mean deviations, both smoothed, doubled after a timeout because those that time out are not
//! measured (Jacobson, "Congestion Avoidance and Control", 1988; RFC 6298).
//!
//! Out of scope: what is done about calls that take too long (`weir_limits::guard`).

use std::time::Duration;

use parking_lot::Mutex;

/// What the budget is at least, as a part of the longest: the estimate knows nothing of what a busy
/// machine will do next.
const LEAST_PART: u32 = 4;
/// So many doublings lead from the least to the longest.
const MOST_DOUBLINGS: u32 = LEAST_PART.ilog2();
const WEIGHT_IN_MEAN: f64 = 1.0 / 8.0;
const WEIGHT_IN_DEVIATION: f64 = 1.0 / 4.0;

/// The budget of the lookups in a store.
#[derive(Debug)]
pub(super) struct Budget {
    longest: Duration,
    measured: Mutex<Option<Measured>>,
}

/// Times are in seconds.
#[derive(Clone, Copy, Debug)]
struct Measured {
    mean: f64,
    deviation: f64,
    /// How many lookups in a row have timed out, up to [`MOST_DOUBLINGS`].
    doublings: u32,
}

impl Budget {
    /// A budget that is never longer than this, and is this as long as nothing is known.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, measured: Mutex::default() }
    }

    /// How long the next lookup may take.
    pub(super) fn now(&self) -> Duration {
        let Some(Measured { mean, deviation, doublings }) = *self.measured.lock() else {
            return self.longest;
        };
        let longest = self.longest.as_secs_f64();
        let usual = (mean + 4.0 * deviation).clamp(longest / f64::from(LEAST_PART), longest);
        Duration::from_secs_f64((usual * f64::from(1 << doublings)).min(longest))
    }

    /// Notes that the store has answered after this time.
    pub(super) fn took(&self, time: Duration) {
        let time = time.as_secs_f64();
        let mut measured = self.measured.lock();
        *measured = Some(match *measured {
            None => Measured { mean: time, deviation: time / 2.0, doublings: 0 },
            Some(Measured { mean, deviation, .. }) => {
                let error = time - mean;
                Measured {
                    mean: mean + WEIGHT_IN_MEAN * error,
                    deviation: deviation + WEIGHT_IN_DEVIATION * (error.abs() - deviation),
                    doublings: 0,
                }
            }
        });
    }

    /// Notes that a lookup has used up its budget.
    pub(super) fn timed_out(&self) {
        if let Some(measured) = &mut *self.measured.lock() {
            measured.doublings = (measured.doublings + 1).min(MOST_DOUBLINGS);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    /// The budget after so many lookups that took this long, in milliseconds.
    fn after(budget: &Budget, lookups: usize, took_ms: f64) -> f64 {
        (0..lookups).for_each(|_| budget.took(ms(took_ms)));
        budget.now().as_secs_f64() * 1e3
    }

    #[test]
    fn it_follows_what_lookups_take() {
        let budget = Budget::new(LONGEST);
        assert_eq!(budget.now(), LONGEST, "nothing is known");
        for (took_ms, least, most) in [
            (0.3, 5.0, 5.0),
            (8.0, 8.0, 8.2),
            (19.0, 19.0, 20.0),
            (50.0, 20.0, 20.0),
            (1.0, 5.0, 5.0),
        ] {
            let budget_ms = after(&budget, 60, took_ms);
            assert!((least..=most).contains(&budget_ms), "{took_ms}: {budget_ms}");
        }
    }

    #[test]
    fn it_leaves_room_for_what_varies() {
        let budget = Budget::new(LONGEST);
        for _ in 0..50 {
            budget.took(ms(2.0));
            budget.took(ms(6.0));
        }
        assert!((ms(10.0)..=ms(14.0)).contains(&budget.now()), "{:?}", budget.now());
    }

    #[test]
    fn a_store_that_becomes_slower_is_waited_for_again() {
        let budget = Budget::new(LONGEST);
        after(&budget, 100, 1.0);
        for expected_ms in [10.0, 20.0, 20.0] {
            budget.timed_out();
            assert_eq!(budget.now(), ms(expected_ms));
        }
        let once = after(&budget, 1, 15.0);
        assert!(once > 15.0, "the next is as slow: {once}");
    }

    proptest! {
        #[test]
        fn it_has_bounds(times in prop::collection::vec(prop::option::of(0.0..1e6_f64), 0..200)) {
            let budget = Budget::new(LONGEST);
            for time in times {
                match time {
                    Some(took_ms) => budget.took(ms(took_ms)),
                    None => budget.timed_out(),
                }
                prop_assert!((LONGEST / LEAST_PART..=LONGEST).contains(&budget.now()));
            }
        }
    }
}
