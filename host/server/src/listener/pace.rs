//! What a connection does: [`Paced`] counts reads and writes, and [`Pace::call`] marks requests in
//! flight and answers that wait to be written.
//!
//! Out of scope: what follows from it (`watcher`). Request bodies have their own timeout
//! (`http::body`), and pipelines have a deadline.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use http::Version;
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::in_flight::InFlight;

/// How many spans of time are told apart. What waits longer than that ends the connection.
const SPANS: usize = 8;

/// After this many spans, something has waited for at least one less.
pub(super) const OVERDUE_SPANS: usize = 5;

/// What a connection has done so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    reads: AtomicU32,
    writes: AtomicU32,
    in_flight: AtomicU32,
    /// How many calls have begun or ended.
    calls: AtomicU32,
    /// The value of `reads` when the last call began or ended. Later reads belong to a head.
    reads_at_call: AtomicU32,
    http2: AtomicBool,
    /// The current span of time.
    span: AtomicUsize,
    /// What waits to be written, by the span since which it has waited. So the watcher finds what
    /// has waited for too long without a list of all that waits.
    waiting: [AtomicU32; SPANS],
}

/// A snapshot of a [`Pace`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) reads: u32,
    pub(super) writes: u32,
    pub(super) in_flight: u32,
    pub(super) calls: u32,
    pub(super) reads_at_call: u32,
    pub(super) http2: bool,
}

/// A request in flight, until it is dropped: when its answer has been written.
#[derive(Debug)]
pub(super) struct Call {
    pace: Arc<Pace>,
    /// The span since which its answer has waited to be written.
    waiting_since: Option<usize>,
    /// That it counts among the requests of all connections, and among those of its tenant.
    counted: [Option<InFlight>; 2],
}

/// A part of an answer that waits to be written, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pace: Arc<Pace>,
    since: usize,
}

impl Pace {
    /// Marks that a request's head has arrived.
    pub(super) fn call(this: &Arc<Self>, version: Version) -> Call {
        this.in_flight.fetch_add(1, Relaxed);
        this.calls.fetch_add(1, Relaxed);
        this.reads_at_call.store(this.reads.load(Relaxed), Relaxed);
        if version == Version::HTTP_2 {
            this.http2.store(true, Relaxed);
        }
        Call { pace: this.clone(), waiting_since: None, counted: [None, None] }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let calls = self.calls.load(Relaxed);
        let writes = self.writes.load(Relaxed);
        Snapshot {
            reads: self.reads.load(Relaxed),
            writes,
            in_flight: self.in_flight.load(Relaxed),
            calls,
            reads_at_call: self.reads_at_call.load(Relaxed),
            // Over HTTP/1 nothing is written before the first request.
            http2: self.http2.load(Relaxed) || calls == 0 && writes > 0,
        }
    }

    /// Begins the next span of time. Whether something has waited to be written for
    /// [`OVERDUE_SPANS`].
    pub(super) fn next_span(&self) -> bool {
        let span = self.span.load(Relaxed).wrapping_add(1);
        self.span.store(span, Relaxed);
        self.waiting[span.wrapping_sub(OVERDUE_SPANS) % SPANS].load(Relaxed) > 0
    }

    pub(super) fn read(&self) {
        bump(&self.reads);
    }

    pub(super) fn wrote(&self) {
        bump(&self.writes);
    }

    fn wait(&self) -> usize {
        let span = self.span.load(Relaxed) % SPANS;
        self.waiting[span].fetch_add(1, Relaxed);
        span
    }

    fn written(&self, since: usize) {
        self.waiting[since].fetch_sub(1, Relaxed);
    }
}

impl Call {
    /// Marks that it counts among the requests of all connections, and among those of its tenant.
    pub(super) fn counts(&mut self, counted: [Option<InFlight>; 2]) {
        self.counted = counted;
    }

    /// Marks that its answer waits to be written, or that a part of it was.
    pub(super) fn answered(&mut self) -> &Self {
        let since = self.pace.wait();
        if let Some(before) = self.waiting_since.replace(since) {
            self.pace.written(before);
        }
        self
    }

    /// Marks that a part of its answer waits to be written.
    pub(super) fn wait(&self) -> Waiting {
        Waiting { pace: self.pace.clone(), since: self.pace.wait() }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(since) = self.waiting_since {
            self.pace.written(since);
        }
        self.pace.reads_at_call.store(self.pace.reads.load(Relaxed), Relaxed);
        self.pace.calls.fetch_add(1, Relaxed);
        self.pace.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pace.written(self.since);
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
            self.pace.read();
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
            self.pace.wrote();
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
            self.pace.wrote();
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
