//! Finds how much may be done at once, from how much of its time the work has waited for its turn.
//!
//! This is additive increase and decrease, in steps of an eighth. Work that waits for half of its time
//! takes twice as long as it would alone: with more of it at once, each would wait longer, and with
//! much less the threads could have nothing to do. Unlike the latency, by which other controllers go
//! (TCP Vegas, Netflix's concurrency-limits), this does not depend on how much the work differs, nor on
//! what is waited for outside the host, of which more at once costs nothing.
//!
//! Out of scope: what waits in front of the gate.

use std::time::{Duration, Instant};

/// The limit changes at most this often, and only when as much as it has ended: then the times are
/// about the limit as it is.
const INTERVAL: Duration = Duration::from_millis(100);
/// Work that waits for more than so many hundredths of its time: less at once.
const TOO_LONG: u128 = 50;
/// Work that waits for less than so many hundredths: more at once, if it is there.
const SHORT: u128 = 35;
/// A step is this part of the limit.
const STEP: usize = 8;
/// How much the last of the work counts for how long it typically takes.
const LAST: u32 = 8;

/// A limit that follows what is measured.
#[derive(Debug)]
pub(super) struct Limit {
    least: usize,
    most: usize,
    now: usize,
    /// When the current interval began; `None` before the first of the work has ended.
    began: Option<Instant>,
    /// How much has ended in the interval, and how long it took.
    ended: usize,
    took: Duration,
    /// How long all work had waited when the interval began.
    waited: Duration,
    /// Whether the limit has kept something waiting in the interval.
    reached: bool,
    typical: Duration,
}

impl Limit {
    /// A limit between `least` and `most`. So far, work has waited for as long as `waited`.
    pub(super) fn new(least: usize, most: usize, waited: Duration) -> Self {
        let most = most.max(1);
        let least = least.clamp(1, most);
        Self {
            least,
            most,
            now: least.saturating_mul(2).min(most),
            began: None,
            ended: 0,
            took: Duration::ZERO,
            waited,
            reached: false,
            typical: Duration::ZERO,
        }
    }

    /// How much may be done at once.
    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// How long the work typically takes. Zero if none has ended yet.
    pub(super) fn typical(&self) -> Duration {
        self.typical
    }

    /// Notes that something has to wait because of the limit.
    pub(super) fn reached(&mut self) {
        self.reached = true;
    }

    /// Notes that something ended `at` a time after it `took` a time. By now, all work has `waited` for
    /// this long in sum. Returns the limit if it is another one from now on.
    pub(super) fn ended(&mut self, at: Instant, took: Duration, waited: Duration) -> Option<usize> {
        self.typical = match self.typical {
            Duration::ZERO => took,
            typical => (typical * (LAST - 1) + took) / LAST,
        };
        let began = *self.began.get_or_insert(at);
        self.ended += 1;
        self.took += took;
        if at.saturating_duration_since(began) < INTERVAL || self.ended < self.now {
            return None;
        }
        let has_waited = waited.saturating_sub(self.waited).as_nanos();
        let hundredths = has_waited * 100 / self.took.as_nanos().max(1);
        let step = (self.now / STEP).max(1);
        let before = self.now;
        if hundredths > TOO_LONG {
            self.now = (self.now - step).max(self.least);
        } else if hundredths < SHORT && self.reached {
            self.now = (self.now + step).min(self.most);
        }
        *self = Self {
            began: Some(at),
            ended: 0,
            took: Duration::ZERO,
            waited,
            reached: false,
            ..*self
        };
        (self.now != before).then_some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How the limit ends up for work that does `serves` at once, each for 10 ms, and waits for the
    /// rest of its time. As much is there as the limit lets in.
    fn settled(limit: &mut Limit, serves: usize) -> usize {
        let mut now = Instant::now();
        let mut waited = limit.waited;
        for _ in 0..20_000 {
            let at_once = limit.now();
            let took = 10 * MILLISECOND * u32::try_from(at_once.max(serves)).unwrap_or(1)
                / u32::try_from(serves).unwrap_or(1);
            now += took / u32::try_from(at_once).unwrap_or(1);
            waited += took - 10 * MILLISECOND;
            limit.reached();
            limit.ended(now, took, waited);
        }
        limit.now()
    }

    #[test]
    fn it_lets_in_about_twice_of_what_is_served_at_once() {
        for serves in [8, 20, 40] {
            let found = settled(&mut Limit::new(4, 200, Duration::ZERO), serves);
            assert!((serves * 3 / 2..=serves * 2 + 2).contains(&found), "{found} for {serves}");
        }
    }

    #[test]
    fn it_follows_what_changes_and_stays_within_its_bounds() {
        let mut limit = Limit::new(4, 100, Duration::ZERO);
        assert_eq!(settled(&mut limit, 1_000), 100, "nothing waits");
        let found = settled(&mut limit, 10);
        assert!((15..=22).contains(&found), "{found}");
        assert_eq!(settled(&mut limit, 1), 4, "almost all waits");
    }

    #[test]
    fn it_does_not_grow_while_nothing_more_is_there() {
        let mut limit = Limit::new(4, 100, Duration::ZERO);
        let began = Instant::now();
        for number in 0..1_000 {
            let changed = limit.ended(began + number * MILLISECOND, MILLISECOND, Duration::ZERO);
            assert_eq!(changed, None);
        }
        assert_eq!((limit.now(), limit.typical()), (8, MILLISECOND));
    }

    #[test]
    fn bounds_that_contradict_each_other_are_mended() {
        assert_eq!(Limit::new(12, 3, Duration::ZERO).now(), 3);
        assert_eq!(Limit::new(0, 0, Duration::ZERO).now(), 1);
    }
}
