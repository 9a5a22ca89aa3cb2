//! The timeouts of slow heads and idle connections, without a timer for each request.
//!
//! [`Paced`] counts reads and writes, [`Pace::call`] marks requests in flight, and a
//! [`Watcher`] looks at the counts a few times per timeout. Out of scope: requests in flight.
//! Their bodies have their own timeout (`http::body`), and pipelines have a deadline.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

/// How slow a connection may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a request to the end of its head.
    pub(super) head: Duration,
    /// The time without a byte moved or a request in flight.
    pub(super) idle: Duration,
}

/// What a connection has done so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    reads: AtomicU32,
    writes: AtomicU32,
    in_flight: AtomicU32,
    /// The value of `reads` when the last call began or ended. Later reads belong to a head.
    reads_at_call: AtomicU32,
    /// Heads of HTTP/2 connections are not timed, because frames other than requests also keep
    /// them busy.
    http2: AtomicBool,
}

/// A snapshot of a [`Pace`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    reads: u32,
    writes: u32,
    in_flight: u32,
    reads_at_call: u32,
    http2: bool,
}

/// A request in flight, until it is dropped.
pub(super) struct Call(Arc<Pace>);

impl Pace {
    /// Marks that a request's head has arrived.
    pub(super) fn call(this: &Arc<Self>, version: Version) -> Call {
        this.in_flight.fetch_add(1, Relaxed);
        this.reads_at_call.store(this.reads.load(Relaxed), Relaxed);
        if version == Version::HTTP_2 {
            this.http2.store(true, Relaxed);
        }
        Call(this.clone())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            reads_at_call: self.reads_at_call.load(Relaxed),
            http2: self.http2.load(Relaxed),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.reads_at_call.store(self.0.reads.load(Relaxed), Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The verdict on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It continues.
    Keep,
    /// Nothing has moved for too long.
    Idle,
    /// A head is taking too long.
    SlowHead,
}

/// Judges a connection's snapshots.
#[derive(Debug)]
pub(super) struct Watcher {
    limits: Limits,
    seen: Snapshot,
    quiet_since: Instant,
    head_since: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, seen: Snapshot::default(), quiet_since: now, head_since: None }
    }

    /// How often to judge. Timeouts are accurate to a quarter of them, or to a second.
    pub(super) fn period(&self) -> Duration {
        let shortest = self.limits.head.min(self.limits.idle);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    pub(super) fn judge(&mut self, now: Instant, pace: Snapshot) -> Verdict {
        let before = std::mem::replace(&mut self.seen, pace);
        if pace != before || pace.in_flight > 0 {
            self.quiet_since = now;
        }
        let in_head = pace.in_flight == 0 && !pace.http2 && pace.reads != pace.reads_at_call;
        // While an answer is still being read, the requests after it may wait.
        let restarted = pace.writes != before.writes || pace.reads_at_call != before.reads_at_call;
        self.head_since = match self.head_since {
            Some(since) if in_head && !restarted => Some(since),
            _ => in_head.then_some(now),
        };
        if self.head_since.is_some_and(|since| now - since >= self.limits.head) {
            Verdict::SlowHead
        } else if now - self.quiet_since >= self.limits.idle {
            Verdict::Idle
        } else {
            Verdict::Keep
        }
    }
}

/// A stream whose reads and writes are counted. Only the connection's own task uses it, so
/// counts are loaded and stored rather than added atomically.
#[derive(Debug)]
pub(super) struct Paced<T> {
    inner: T,
    pace: Arc<Pace>,
}

impl<T> Paced<T> {
    pub(super) fn new(inner: T, pace: Arc<Pace>) -> Self {
        Self { inner, pace }
    }
}

fn bump(count: &AtomicU32) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<T: Read + Unpin> Read for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if poll.is_ready() {
            bump(&self.pace.reads);
        }
        poll
    }
}

impl<T: Write + Unpin> Write for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buffer);
        if poll.is_ready() {
            bump(&self.pace.writes);
        }
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        if poll.is_ready() {
            bump(&self.pace.writes);
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happened since the last snapshot, a second earlier.
    #[derive(Clone, Copy)]
    enum Step {
        Quiet,
        Read,
        Write,
        Begin,
        End,
    }
    use Step::{Begin, End, Quiet, Read, Write};

    fn verdict_after(version: Version, steps: &[Step]) -> Verdict {
        let limits = Limits { head: Duration::from_secs(3), idle: Duration::from_secs(6) };
        let mut now = Instant::now();
        let mut watcher = Watcher::new(limits, now);
        let pace = Arc::new(Pace::default());
        let mut calls = Vec::new();
        let mut verdict = Verdict::Keep;
        for step in steps {
            match step {
                Quiet => {}
                Read => bump(&pace.reads),
                Write => bump(&pace.writes),
                Begin => {
                    bump(&pace.reads);
                    calls.push(Pace::call(&pace, version));
                }
                End => {
                    calls.pop();
                    bump(&pace.writes);
                }
            }
            now += Duration::from_secs(1);
            verdict = watcher.judge(now, pace.snapshot());
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
    fn frames_of_http_2_are_no_heads() {
        let steps = [vec![Begin, End], vec![Read; 60]].concat();
        assert_eq!(verdict_after(Version::HTTP_2, &steps), Verdict::Keep);
    }
}
