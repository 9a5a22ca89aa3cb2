//! A shadow that runs: a bounded queue from the request path, and a thread of the lowest priority that compares.
//!
//! A request that has ended is put into the queue if there is room and memory for it, and is otherwise dropped and
//! counted. Nobody waits. Out of scope: who begins and ends it (`deploy::registry`).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use weir_cache::entry::Moment;
use weir_limits::priority::{self, Work};

use super::compare::{About, Comparison};
use super::event::{Copied, Event, Headers};
use super::queue::{Charged, Inlet, queue};
use super::report::Report;
use crate::policy::Policy;
use crate::request::Source;

/// How many requests wait at most.
const MAX_WAITING: usize = 4_096;
/// The memory of those that wait, in KiB.
const MAX_WAITING_KIB: usize = 16 << 10;
/// For how long a report waits for what came before it.
const MAX_CATCH_UP: Duration = Duration::from_millis(500);
/// Hooks of a candidate that are not asked, because what follows from them would have to be.
const NOT_ASKED: [&str; 2] = ["failures", "changes"];

/// A candidate that is compared with the policy that is deployed.
pub struct Shadow {
    deployed: Arc<Policy>,
    candidate_digest: String,
    headers: Headers,
    events: Inlet<Event>,
    reports: mpsc::Sender<oneshot::Sender<Report>>,
    shared: Arc<Shared>,
    seen: Counter,
    dropped: Counter,
}

/// What the thread knows of what happens elsewhere.
struct Shared {
    since: Moment,
    requests: AtomicU64,
    dropped: AtomicU64,
    /// Why, and after how long.
    ended: OnceLock<(&'static str, Duration)>,
    is_stopped: AtomicBool,
    not_asked: Vec<&'static str>,
}

impl Shadow {
    /// Begins to compare a candidate.
    ///
    /// # Errors
    /// The operating system refuses to start the thread.
    pub fn begin(deployed: Arc<Policy>, candidate: Arc<Policy>) -> io::Result<Self> {
        let (events, waiting) = queue(MAX_WAITING, MAX_WAITING_KIB);
        let (reports, asked) = mpsc::channel(1);
        let hooks = candidate.hooks();
        let shared = Arc::new(Shared {
            since: Moment::now(),
            requests: AtomicU64::default(),
            dropped: AtomicU64::default(),
            ended: OnceLock::new(),
            is_stopped: AtomicBool::default(),
            not_asked: NOT_ASKED.into_iter().filter(|hook| hooks.contains(hook)).collect(),
        });
        let outcome = |outcome: &'static str| counter!("weir_shadow_requests_total", "policy" => deployed.name.to_string(), "outcome" => outcome);
        let (seen, dropped) = (outcome("seen"), outcome("dropped"));
        let headers = Headers::of([&deployed, &candidate]);
        let candidate_digest = candidate.digest.clone();
        let comparison = Comparison::new(Arc::clone(&deployed), candidate);
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let worker = Worker { comparison, waiting, asked, shared: Arc::clone(&shared) };
        thread::Builder::new().name("weir-shadow".to_owned()).spawn(move || {
            priority::lower(Work::Long);
            runtime.block_on(worker.work());
        })?;
        Ok(Self { deployed, candidate_digest, headers, events, reports, shared, seen, dropped })
    }

    /// Takes a request that has ended, unless too many wait. `event` makes it of a copy of what keys are made of;
    /// besides that, it takes `more_bytes`.
    pub fn offer(
        &self,
        policy: &Arc<Policy>,
        source: &Source<'_>,
        more_bytes: usize,
        event: impl FnOnce(Copied) -> Event,
    ) {
        if !Arc::ptr_eq(policy, &self.deployed) || self.ended().is_some() {
            return;
        }
        self.shared.requests.fetch_add(1, Relaxed);
        let bytes = Copied::bytes(source, &self.headers) + more_bytes;
        let has_room = self.events.offer(bytes, || event(Copied::of(source, &self.headers)));
        if has_room {
            self.seen.increment(1);
        } else {
            self.shared.dropped.fetch_add(1, Relaxed);
            self.dropped.increment(1);
        }
    }

    /// What it has found out; `None` if it has failed.
    pub async fn report(&self) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.reports.send(reply).await.ok()?;
        report.await.ok()
    }

    /// The policy that the candidate is compared with.
    #[must_use]
    pub fn deployed(&self) -> &Arc<Policy> {
        &self.deployed
    }

    /// The digest of the candidate.
    #[must_use]
    pub fn candidate_digest(&self) -> &str {
        &self.candidate_digest
    }

    /// Looks at no more requests, for this reason. What was found out stays.
    pub fn end(&self, reason: &'static str) {
        let _ = self.shared.ended.set((reason, self.shared.since.monotonic.elapsed()));
    }

    /// Why it looks at no more requests, if it does not.
    #[must_use]
    pub fn ended(&self) -> Option<&'static str> {
        self.shared.ended.get().map(|(reason, _)| *reason)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Relaxed);
    }
}

/// The thread's.
struct Worker {
    comparison: Comparison<Arc<Policy>>,
    waiting: mpsc::Receiver<Charged<Event>>,
    asked: mpsc::Receiver<oneshot::Sender<Report>>,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(mut self) {
        loop {
            tokio::select! {
                biased;
                reply = self.asked.recv() => {
                    let Some(reply) = reply else { return };
                    self.catch_up().await;
                    // Whoever asked may have left.
                    let _ = reply.send(self.report());
                }
                waiting = self.waiting.recv() => {
                    let Some(event) = waiting else { return };
                    self.comparison.take(&event.value).await;
                }
            }
            if self.shared.is_stopped.load(Relaxed) {
                return;
            }
        }
    }

    /// Looks at what waits already, for a bounded time.
    async fn catch_up(&mut self) {
        let give_up_at = Instant::now() + MAX_CATCH_UP;
        let came_before = self.waiting.len();
        for _ in 0..came_before {
            let Ok(event) = self.waiting.try_recv() else { return };
            self.comparison.take(&event.value).await;
            if Instant::now() >= give_up_at || self.shared.is_stopped.load(Relaxed) {
                return;
            }
        }
    }

    fn report(&self) -> Report {
        let shared = &self.shared;
        let ended = shared.ended.get();
        self.comparison.report(About {
            since_unix_ms: shared.since.unix_ms,
            lasted: ended.map_or_else(|| shared.since.monotonic.elapsed(), |(_, lasted)| *lasted),
            ended: ended.map(|(reason, _)| *reason),
            requests: shared.requests.load(Relaxed),
            dropped: shared.dropped.load(Relaxed),
            waiting: self.waiting.len() as u64,
            not_asked: shared.not_asked.clone(),
        })
    }
}
