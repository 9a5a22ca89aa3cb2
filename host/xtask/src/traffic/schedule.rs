//! The open loop: requests are due at fixed times, whatever became of earlier ones, and the time of
//! each counts from when it was due. So a server that stands still for a second is seen by every
//! request of that second, not only by one.
//!
//! Time is behind [`Clock`], so that tests need not wait.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// Timers of tokio fire up to so much late, which is no fault of the server's.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// The time since some beginning.
pub(crate) trait Clock {
    fn now(&self) -> Duration;
    /// Returns at this time or later.
    fn until(&self, time: Duration) -> impl Future<Output = ()>;
}

/// Real time since the clock was made.
#[derive(Clone, Copy)]
pub(crate) struct Real(Instant);

impl Real {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Real {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn until(&self, time: Duration) {
        sleep_until((self.0 + time).into()).await;
    }
}

/// Calls `send` for every request that is due before `end`, with its number and the time that its
/// latency counts from. `send` must only begin the request: what it waits for, the next one waits for.
pub(crate) async fn open_loop(
    clock: &impl Clock,
    per_second: u32,
    end: Duration,
    mut send: impl FnMut(u32, Duration),
) {
    for number in 0.. {
        let due = due(per_second, number);
        if due >= end {
            return;
        }
        send(number, wait(clock, due).await);
    }
}

/// Waits until a request is due, and returns the time that its latency counts from. If that is in the past,
/// it does not wait: the client catches up.
pub(crate) async fn wait(clock: &impl Clock, due: Duration) -> Duration {
    clock.until(due).await;
    counted_from(due, clock.now())
}

/// When a request is due. Not a multiple of an interval, whose rounding would add up.
fn due(per_second: u32, number: u32) -> Duration {
    Duration::from_secs(number.into()) / per_second
}

/// The time that the latency of a request counts from: when it was due, or up to the slack of
/// timers later.
fn counted_from(due: Duration, sent: Duration) -> Duration {
    sent.clamp(due, due + TIMER_SLACK)
}

#[cfg(test)]
pub(crate) mod fake {
    //! A clock for tests.

    use std::cell::Cell;

    use super::*;

    /// Stands still but for `until` and for what a test adds.
    #[derive(Default)]
    pub(crate) struct Fake(Cell<Duration>);

    impl Fake {
        pub(crate) fn pass(&self, time: Duration) {
            self.0.set(self.0.get() + time);
        }
    }

    impl Clock for Fake {
        fn now(&self) -> Duration {
            self.0.get()
        }

        async fn until(&self, time: Duration) {
            self.0.set(self.0.get().max(time));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::fake::Fake;
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn a_slow_server_delays_no_request_and_each_sees_how_slow_it_is() {
        let (clock, mut free, mut latencies) = (Fake::default(), Duration::ZERO, Vec::new());
        // The server takes 50 ms for each request, one after the other, and 100 come a second.
        open_loop(&clock, 100, ms(50), |_, from| {
            free = free.max(clock.now()) + ms(50);
            latencies.push(free - from);
        })
        .await;
        assert_eq!(latencies, [50, 90, 130, 170, 210].map(ms));
        assert_eq!(clock.now(), ms(40));
    }

    #[tokio::test]
    async fn a_client_that_was_stopped_catches_up_and_counts_what_it_missed() {
        let clock = Fake::default();
        let mut late = Vec::new();
        open_loop(&clock, 100, ms(50), |number, from| {
            late.push(clock.now() - from);
            if number == 1 {
                clock.pass(ms(25));
            }
        })
        .await;
        // At 35 ms instead of 20 and 30, of which a millisecond is the timers' slack.
        assert_eq!(late, [0, 0, 14, 4, 0].map(ms));
    }

    #[test]
    fn requests_are_due_at_their_rate_for_long() {
        assert_eq!(due(200, 1), ms(5));
        assert_eq!(due(3, 3_000_000), Duration::from_secs(1_000_000));
        assert_eq!(counted_from(ms(5), ms(5)), ms(5));
    }

    #[tokio::test]
    async fn nothing_is_due_at_the_end() {
        let mut sent = 0;
        open_loop(&Fake::default(), 200, Duration::from_secs(2), |number, _| {
            assert_eq!(number, sent);
            sent += 1;
        })
        .await;
        assert_eq!(sent, 400);
    }

    #[tokio::test]
    async fn the_real_clock_is_not_early() {
        let clock = Real::start();
        clock.until(ms(2)).await;
        assert!(clock.now() >= ms(2));
        assert!(due(1, 1).checked_sub(clock.now()).unwrap() < Duration::from_secs(1));
    }
}
