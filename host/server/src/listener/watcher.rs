//! Judges connections, a few times per timeout and without a timer for each request: slow heads,
//! clients that do not read their answers, connections without requests, and old ones.
//!
//! Out of scope: what is counted (`pace`), and ending a connection (`connection`).

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{OVERDUE_SPANS, Pace, Snapshot};

/// How slow and how old a connection may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a request to the end of its head.
    pub(super) head: Duration,
    /// The time without a request in flight, and over HTTP/1 without a byte moved.
    pub(super) idle: Duration,
    /// The time in which a client reads some of an answer.
    pub(super) write: Duration,
    /// The age at which no further requests are accepted.
    pub(super) age: Duration,
    /// The time that requests in flight have from then on.
    pub(super) drain: Duration,
}

/// The verdict on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It continues.
    Keep,
    /// It has had no request for too long.
    Idle,
    /// It accepts no further requests.
    Old,
    /// A head is taking too long.
    SlowHead,
    /// The client does not read its answers.
    Unread,
    /// It is old, and requests in flight have had their time.
    Expired,
}

/// Judges a connection.
#[derive(Debug)]
pub(super) struct Watcher {
    limits: Limits,
    seen: Snapshot,
    quiet_since: Instant,
    head_since: Option<Instant>,
    span_since: Instant,
    old_at: Instant,
}

impl Watcher {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            seen: Snapshot::default(),
            quiet_since: now,
            head_since: None,
            span_since: now,
            old_at: now + limits.age + jitter(limits.age / 10),
        }
    }

    /// How often to judge. Timeouts are accurate to a quarter of them, or to a second.
    pub(super) fn period(&self) -> Duration {
        let Limits { head, idle, write, age, .. } = self.limits;
        let shortest = head.min(idle).min(write).min(age);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    pub(super) fn judge(&mut self, now: Instant, pace: &Pace) -> Verdict {
        let seen = pace.snapshot();
        let before = std::mem::replace(&mut self.seen, seen);
        // Over HTTP/2, frames that are not part of a request keep a connection busy and not in use.
        let used = if seen.http2 { seen.calls != before.calls } else { seen != before };
        if used || seen.in_flight > 0 {
            self.quiet_since = now;
        }
        let in_head = seen.in_flight == 0 && !seen.http2 && seen.reads != seen.reads_at_call;
        // While an answer is still being read, the requests after it may wait.
        let restarted = seen.writes != before.writes || seen.reads_at_call != before.reads_at_call;
        self.head_since = match self.head_since {
            Some(since) if in_head && !restarted => Some(since),
            _ => in_head.then_some(now),
        };
        if self.is_unread(now, pace) {
            Verdict::Unread
        } else if self.head_since.is_some_and(|since| now - since >= self.limits.head) {
            Verdict::SlowHead
        } else if now >= self.old_at + self.limits.drain {
            Verdict::Expired
        } else if now - self.quiet_since >= self.limits.idle {
            Verdict::Idle
        } else if now >= self.old_at {
            Verdict::Old
        } else {
            Verdict::Keep
        }
    }

    /// Whether something has waited to be written for at least `limits.write`, and at most a quarter
    /// longer than that.
    fn is_unread(&mut self, now: Instant, pace: &Pace) -> bool {
        const SPANS: u32 = OVERDUE_SPANS as u32 - 1;
        if now - self.span_since < self.limits.write / SPANS {
            return false;
        }
        self.span_since = now;
        pace.next_span()
    }
}

/// A part of `most`, so that connections that began together do not end together.
fn jitter(most: Duration) -> Duration {
    let thousandths = RandomState::new().hash_one(0_u8) % 1_000;
    most.mul_f64(f64::from(u16::try_from(thousandths).unwrap_or(0)) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Version;

    use super::super::pace::Call;
    use super::*;

    /// What happened since the last snapshot, a second earlier.
    #[derive(Clone, Copy)]
    enum Step {
        Quiet,
        Read,
        Write,
        Begin,
        /// The answer to the last call waits to be written.
        Answer,
        /// A part of it is written.
        Part,
        End,
    }
    use Step::{Answer, Begin, End, Part, Quiet, Read, Write};

    fn verdict_after(version: Version, steps: &[Step]) -> Verdict {
        verdict_within(version, 10_000, steps)
    }

    fn verdict_within(version: Version, age: u64, steps: &[Step]) -> Verdict {
        let limits = Limits {
            head: Duration::from_secs(3),
            idle: Duration::from_secs(6),
            write: Duration::from_secs(8),
            age: Duration::from_secs(age),
            drain: Duration::from_secs(4),
        };
        let mut now = Instant::now();
        let mut watcher = Watcher::new(limits, now);
        let pace = Arc::new(Pace::default());
        let mut calls = Vec::new();
        let mut verdict = Verdict::Keep;
        for step in steps {
            match step {
                Quiet => {}
                Read => pace.read(),
                Write => pace.wrote(),
                Answer | Part => {
                    calls.last_mut().map(Call::answered);
                }
                Begin => {
                    pace.read();
                    calls.push(Pace::call(&pace, version));
                }
                End => {
                    calls.pop();
                    pace.wrote();
                }
            }
            now += Duration::from_secs(1);
            verdict = watcher.judge(now, &pace);
            if verdict != Verdict::Keep {
                break;
            }
        }
        verdict
    }

    #[test]
    fn a_connection_is_judged_by_what_moves() {
        use Verdict::{Idle, Keep, SlowHead};
        for (steps, expected) in [
            (vec![Quiet; 5], Keep),
            (vec![Quiet; 6], Idle),
            // A head that drips byte by byte is slow, however often it drips.
            (vec![Read; 3], Keep),
            (vec![Read; 4], SlowHead),
            (vec![Read, Quiet, Quiet, Quiet], SlowHead),
            // In flight, nothing is timed.
            ([vec![Begin], vec![Quiet; 60]].concat(), Keep),
            ([vec![Begin], vec![Read; 60]].concat(), Keep),
            // Between requests it is idle, not slow.
            ([vec![Begin, End], vec![Quiet; 5]].concat(), Keep),
            ([vec![Begin, End], vec![Quiet; 7]].concat(), Idle),
            ([vec![Begin, End], vec![Read; 4]].concat(), SlowHead),
            // A slow reader of an answer keeps its connection as long as it reads.
            ([vec![Begin, End], vec![Write; 60]].concat(), Keep),
            (vec![Read, Read, Write, Read, Read], Keep),
        ] {
            assert_eq!(verdict_after(Version::HTTP_11, &steps), expected);
        }
    }

    #[test]
    fn over_http_2_only_requests_count() {
        use Verdict::{Idle, Keep};
        for (steps, expected) in [
            // A preface, settings, and pings without a request.
            ([vec![Write], vec![Read; 4]].concat(), Keep),
            ([vec![Write], vec![Read; 60]].concat(), Idle),
            ([vec![Begin, End], vec![Read; 5]].concat(), Keep),
            ([vec![Begin, End], vec![Read; 60]].concat(), Idle),
            ([vec![Begin], vec![Read; 60]].concat(), Keep),
            ([Begin, End].repeat(30), Keep),
        ] {
            assert_eq!(verdict_after(Version::HTTP_2, &steps), expected);
        }
    }

    #[test]
    fn what_waits_to_be_written_is_read_in_time() {
        use Verdict::{Keep, Unread};
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for (steps, expected) in [
                ([vec![Begin, Answer], vec![Quiet; 6]].concat(), Keep),
                ([vec![Begin, Answer], vec![Quiet; 10]].concat(), Unread),
                // Neither pings nor their answers are progress,
                ([vec![Begin, Answer], [Read, Write].repeat(10)].concat(), Unread),
                // nor are other requests,
                ([vec![Begin, Answer], [Begin, Answer, End].repeat(10)].concat(), Unread),
                // but a part of the answer is.
                ([vec![Begin, Answer], [Quiet, Quiet, Quiet, Part].repeat(10)].concat(), Keep),
                // A pipeline that runs keeps nothing waiting.
                ([vec![Begin], vec![Quiet; 60]].concat(), Keep),
                ([vec![Begin, Answer, End], vec![Quiet; 5]].concat(), Keep),
            ] {
                assert_eq!(verdict_after(version, &steps), expected, "{version:?}");
            }
        }
    }

    #[test]
    fn an_old_connection_ends_with_what_is_in_flight() {
        use Verdict::{Expired, Idle, Keep, Old};
        for (steps, expected) in [
            (vec![Begin; 9], Keep),
            // The jitter is at most a tenth.
            (vec![Begin; 11], Old),
            ([vec![Begin], vec![Quiet; 20]].concat(), Old),
            (vec![Quiet; 11], Idle),
        ] {
            assert_eq!(verdict_within(Version::HTTP_11, 10, &steps), expected);
        }
        let limits = Limits {
            head: Duration::from_secs(100),
            idle: Duration::from_secs(100),
            write: Duration::from_secs(100),
            age: Duration::from_secs(10),
            drain: Duration::from_secs(4),
        };
        let began = Instant::now();
        let mut watcher = Watcher::new(limits, began);
        let pace = Pace::default();
        for (seconds, expected) in [(9, Keep), (12, Old), (13, Old), (15, Expired)] {
            assert_eq!(watcher.judge(began + Duration::from_secs(seconds), &pace), expected);
        }
    }
}
