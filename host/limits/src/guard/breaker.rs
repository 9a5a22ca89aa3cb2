//! A circuit breaker: whether a backend is worth asking.
//!
//! It is *closed* while calls work. When most of the calls of the last seconds have failed, it *opens*:
//! nothing is asked for a while, so that callers do not wait for what will fail, and the backend can
//! recover. Then it is *half open*: one call at a time tries, and the first that fails opens it again,
//! for longer. See Nygard, "Release It!", 2nd edition, chapter 5.
//!
//! Pure: time is an argument. Out of scope: what a call is, and which errors count.

use std::time::{Duration, Instant};

/// Calls are counted over the current and the last interval of this length.
const INTERVAL: Duration = Duration::from_secs(5);
/// Fewer failures never open it.
const FEWEST_FAILURES: u32 = 5;
/// How long it stays open at first. Each failed try doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest that it stays open: a backend that is back is used again within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So many tries in a row close it.
const SUCCESSES: u32 = 2;

/// What a breaker thinks of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time goes through.
    HalfOpen,
}

/// The breaker of one backend.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Distinguishes calls that were admitted before the state changed: they say nothing about now.
    generation: u64,
}

/// A call that was let through. It must be [ended](Breaker::ended).
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    generation: u64,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant, pause: Duration },
    HalfOpen { is_trying: bool, successes: u32, pause: Duration },
}

/// Calls of the current interval and of the one before.
#[derive(Debug)]
struct Window {
    since: Instant,
    now: Counts,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    worked: u32,
    failed: u32,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { state: State::Closed(Window::new(now)), generation: 0 }
    }

    /// What it thinks of the backend. Changes only by calls.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.state {
            State::Closed(_) => Health::Closed,
            State::Open { .. } => Health::Open,
            State::HalfOpen { .. } => Health::HalfOpen,
        }
    }

    /// Lets a call through, or not.
    pub fn admit(&mut self, now: Instant) -> Option<Admitted> {
        if let State::Open { until, pause } = self.state
            && now >= until
        {
            self.change(State::HalfOpen { is_trying: false, successes: 0, pause });
        }
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { .. } => return None,
            State::HalfOpen { is_trying: true, .. } => return None,
            State::HalfOpen { is_trying, .. } => *is_trying = true,
        }
        Some(Admitted { generation: self.generation })
    }

    /// Notes how a call ended: whether the backend worked, or `None` if nobody knows, because the
    /// caller left.
    pub fn ended(&mut self, call: Admitted, worked: Option<bool>, now: Instant) {
        if call.generation != self.generation {
            return;
        }
        match &mut self.state {
            State::Closed(window) => {
                let Some(worked) = worked else { return };
                let Counts { worked, failed } = window.count(worked, now);
                if failed >= FEWEST_FAILURES && failed > worked {
                    self.open(FIRST_PAUSE, now);
                }
            }
            State::HalfOpen { is_trying, successes, pause } => {
                *is_trying = false;
                match worked {
                    Some(true) => *successes += 1,
                    Some(false) => {
                        let pause = (*pause * 2).min(LONGEST_PAUSE);
                        return self.open(pause, now);
                    }
                    None => {}
                }
                if *successes >= SUCCESSES {
                    self.change(State::Closed(Window::new(now)));
                }
            }
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, pause: Duration, now: Instant) {
        self.change(State::Open { until: now + pause, pause });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { since: now, now: Counts::default(), before: Counts::default() }
    }

    /// Counts a call, and returns all that count.
    fn count(&mut self, worked: bool, now: Instant) -> Counts {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= INTERVAL {
            let recent = elapsed < INTERVAL * 2;
            self.before = if recent { self.now } else { Counts::default() };
            self.now = Counts::default();
            self.since = now;
        }
        let count = if worked { &mut self.now.worked } else { &mut self.now.failed };
        *count = count.saturating_add(1);
        Counts {
            worked: self.now.worked.saturating_add(self.before.worked),
            failed: self.now.failed.saturating_add(self.before.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    struct Fixture {
        breaker: Breaker,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::new(now), now }
        }

        fn after(&mut self, time: Duration) -> &mut Self {
            self.now += time;
            self
        }

        /// Whether a call was let through, which then worked or not.
        fn call(&mut self, worked: bool) -> bool {
            let Some(call) = self.breaker.admit(self.now) else { return false };
            self.breaker.ended(call, Some(worked), self.now);
            true
        }

        fn opened() -> Self {
            let mut f = Self::new();
            for _ in 0..FEWEST_FAILURES {
                assert!(f.call(false));
            }
            assert_eq!(f.breaker.health(), Health::Open);
            f
        }
    }

    #[test]
    fn it_opens_when_most_calls_of_the_last_seconds_have_failed() {
        let mut f = Fixture::new();
        for _ in 0..100 {
            assert!(f.call(true));
        }
        for _ in 0..100 {
            assert!(f.call(false));
        }
        assert_eq!(f.breaker.health(), Health::Closed, "as many have worked");
        assert!(f.call(false));
        assert_eq!(f.breaker.health(), Health::Open);
        assert!(!f.call(true));

        // What worked long ago does not count.
        let mut f = Fixture::new();
        for _ in 0..100 {
            f.call(true);
        }
        f.after(INTERVAL * 2);
        for _ in 0..FEWEST_FAILURES {
            assert!(f.call(false));
        }
        assert_eq!(f.breaker.health(), Health::Open);

        // A few failures are none.
        let mut f = Fixture::new();
        for _ in 0..100 {
            for _ in 1..FEWEST_FAILURES {
                assert!(f.call(false));
            }
            f.after(INTERVAL * 2);
        }
    }

    #[test]
    fn one_call_at_a_time_tries_whether_it_works_again() {
        let mut f = Fixture::opened();
        f.after(FIRST_PAUSE - Duration::from_nanos(1));
        assert!(f.breaker.admit(f.now).is_none());
        f.after(Duration::from_nanos(1));
        let first = f.breaker.admit(f.now).unwrap();
        assert!(f.breaker.admit(f.now).is_none(), "one is trying");
        f.breaker.ended(first, Some(true), f.now);
        let second = f.breaker.admit(f.now).unwrap();
        assert!(f.breaker.admit(f.now).is_none());
        f.breaker.ended(second, Some(true), f.now);
        assert_eq!(f.breaker.health(), Health::Closed);
        // The failures from before are forgotten.
        assert!(f.call(false));
        assert_eq!(f.breaker.health(), Health::Closed);
    }

    #[test]
    fn each_failed_try_doubles_the_pause_up_to_the_longest() {
        let mut f = Fixture::opened();
        let mut pause = FIRST_PAUSE;
        for _ in 0..10 {
            assert!(!f.after(pause - Duration::from_nanos(1)).call(false));
            assert!(f.after(Duration::from_nanos(1)).call(false));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(pause, LONGEST_PAUSE);
    }

    #[test]
    fn calls_from_before_say_nothing_about_now() {
        let mut f = Fixture::new();
        let early = f.breaker.admit(f.now).unwrap();
        for _ in 0..FEWEST_FAILURES {
            f.call(false);
        }
        f.after(FIRST_PAUSE);
        let tries = f.breaker.admit(f.now).unwrap();
        f.breaker.ended(early, Some(false), f.now);
        assert_eq!(f.breaker.health(), Health::HalfOpen);
        // A caller that left lets the next one try.
        f.breaker.ended(tries, None, f.now);
        assert!(f.call(true));
    }

    proptest! {
        /// Whatever happens, a backend that works is used again after the longest pause.
        #[test]
        fn it_closes_again(calls in prop::collection::vec((any::<Option<bool>>(), 0..4_000_u64), 0..60)) {
            let mut f = Fixture::new();
            for (worked, after_ms) in calls {
                f.after(Duration::from_millis(after_ms));
                if let Some(call) = f.breaker.admit(f.now) {
                    f.breaker.ended(call, worked, f.now);
                }
            }
            f.after(LONGEST_PAUSE);
            for _ in 0..SUCCESSES {
                prop_assert!(f.call(true));
            }
            prop_assert_eq!(f.breaker.health(), Health::Closed);
        }
    }
}
