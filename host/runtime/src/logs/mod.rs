//! The latest lines of each pipeline's log, in memory, for whoever has written the pipeline.
//!
//! What a guest logs is kept here next to the server's log, whatever that one's level is, and so is why a run has
//! failed. A tenant's requests push out no other tenant's lines: each has a [`ring`] of its own for each pipeline. All
//! rings with lines have equal shares of the memory, and no more than [`MAX_RING_BYTES`]. [`line`](mod@line) is what
//! is kept, and [`reading`] finds it again, also as it comes. Writing waits for nobody who reads.
//!
//! Out of scope: how much a guest may log (`capability`), and who may read it (`weir-server`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_core::name::Name;

mod line;
mod reading;
mod ring;

pub use self::line::{By, Level, LevelError, Line, Said};
pub use self::reading::{Asked, Follower, Heard};
pub use self::ring::MAX_LINES;

use self::line::unix_ms;
use self::ring::Ring;

/// The most that a ring holds.
pub const MAX_RING_BYTES: usize = 256 << 10;
/// The most that all rings hold together.
pub const MAX_BYTES: usize = 16 << 20;

/// The logs of all pipelines in service.
#[derive(Debug, Default)]
pub struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Locked before the lines of any of them.
    of_pipelines: Mutex<BTreeMap<Name, Arc<PipelineLog>>>,
    /// How many rings there are, or are about to be.
    rings: AtomicUsize,
}

/// The log of one pipeline, which it keeps when it is deployed again.
#[derive(Debug)]
pub struct PipelineLog {
    all: Weak<Inner>,
    lines: Mutex<Lines>,
    /// Somebody may wait for lines, or for the end.
    changed: Notify,
}

#[derive(Debug)]
struct Lines {
    /// The id of the next line.
    next_id: u64,
    /// By tenant. A tenant has one from its first line on.
    rings: BTreeMap<Name, Ring>,
    /// The pipeline is not in service any more.
    ended: bool,
}

/// Where the runs of one revision write, for one tenant.
#[derive(Clone, Debug)]
pub struct Writer {
    log: Option<Arc<PipelineLog>>,
    tenant: Name,
    revision: u64,
}

impl Logs {
    /// The log of a pipeline, which begins now if there is none.
    #[must_use]
    pub fn begin(&self, pipeline: &Name) -> Arc<PipelineLog> {
        let mut of_pipelines = self.inner.of_pipelines.lock();
        let begin = || Arc::new(PipelineLog::new(Arc::downgrade(&self.inner)));
        Arc::clone(of_pipelines.entry(pipeline.clone()).or_insert_with(begin))
    }

    /// The log of a pipeline, if it is in service.
    #[must_use]
    pub fn get(&self, pipeline: &Name) -> Option<Arc<PipelineLog>> {
        self.inner.of_pipelines.lock().get(pipeline).map(Arc::clone)
    }

    /// Ends the logs of all other pipelines, and gives up their lines.
    pub fn keep_only(&self, in_service: &BTreeSet<&Name>) {
        let mut of_pipelines = self.inner.of_pipelines.lock();
        of_pipelines.retain(|pipeline, log| {
            let stays = in_service.contains(pipeline);
            if !stays {
                let rings = log.end();
                self.inner.rings.fetch_sub(rings, Ordering::Relaxed);
            }
            stays
        });
    }
}

impl Inner {
    /// The share of a ring.
    fn share_bytes(&self) -> usize {
        (MAX_BYTES / self.rings.load(Ordering::Relaxed).max(1)).min(MAX_RING_BYTES)
    }

    /// Gives a tenant a ring of this log. All others are within their smaller shares before it is there.
    fn open(&self, log: &PipelineLog, tenant: &Name) {
        let of_pipelines = self.of_pipelines.lock();
        {
            let lines = log.lines.lock();
            if lines.ended || lines.rings.contains_key(tenant) {
                return;
            }
        }
        let before = self.share_bytes();
        self.rings.fetch_add(1, Ordering::Relaxed);
        let share_bytes = self.share_bytes();
        if share_bytes < before {
            for log in of_pipelines.values() {
                log.lines.lock().rings.values_mut().for_each(|ring| ring.trim(share_bytes));
            }
        }
        log.lines.lock().rings.insert(tenant.clone(), Ring::default());
    }
}

impl PipelineLog {
    fn new(all: Weak<Inner>) -> Self {
        // Larger than those that an earlier process has given out, unless the clock was set back.
        let next_id = unix_ms().saturating_mul(1_000);
        let lines = Lines { next_id, rings: BTreeMap::new(), ended: false };
        Self { all, lines: Mutex::new(lines), changed: Notify::new() }
    }

    /// Where the runs of this revision write for a tenant.
    #[must_use]
    pub fn writer(self: &Arc<Self>, tenant: Name, revision: u64) -> Writer {
        Writer { log: Some(Arc::clone(self)), tenant, revision }
    }

    fn write(&self, tenant: &Name, revision: u64, said: Said) {
        let Some(all) = self.all.upgrade() else { return };
        let is_first = !self.lines.lock().rings.contains_key(tenant);
        if is_first {
            all.open(self, tenant);
        }
        let mut lines = self.lines.lock();
        let id = lines.next_id;
        // It has none if the pipeline is not in service any more.
        let Some(ring) = lines.rings.get_mut(tenant) else { return };
        let line = Line { id, unix_ms: unix_ms(), tenant: tenant.clone(), revision, said };
        // Read under the lock: whoever makes it smaller takes the lock afterwards.
        ring.push(line, all.share_bytes());
        lines.next_id += 1;
        drop(lines);
        self.changed.notify_waiters();
    }

    /// Ends it, and returns how many rings it had.
    fn end(&self) -> usize {
        let mut lines = self.lines.lock();
        lines.ended = true;
        let rings = std::mem::take(&mut lines.rings).len();
        drop(lines);
        self.changed.notify_waiters();
        rings
    }
}

impl Writer {
    /// One that keeps nothing, for runs that nobody reads about afterwards.
    #[must_use]
    pub fn nowhere(tenant: Name) -> Self {
        Self { log: None, tenant, revision: 0 }
    }

    /// Keeps a line.
    pub fn write(&self, said: Said) {
        if let Some(log) = &self.log {
            log.write(&self.tenant, self.revision, said);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use proptest::prelude::*;

    use super::line::testing::said;
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// What each ring holds, in bytes, by pipeline and tenant.
    fn held(logs: &Logs) -> Vec<usize> {
        let of_pipelines = logs.inner.of_pipelines.lock();
        let of_log = |log: &Arc<PipelineLog>| {
            let lines = log.lines.lock();
            let bytes = |ring: &Ring| ring.since(0).1.map(|line| line.bytes()).sum();
            lines.rings.values().map(bytes).collect::<Vec<usize>>()
        };
        of_pipelines.values().flat_map(of_log).collect()
    }

    fn write(logs: &Logs, pipeline: usize, tenant: usize, bytes: usize) {
        let log = logs.begin(&name(&format!("p{pipeline}")));
        let writer = log.writer(name(&format!("t{tenant}")), 1);
        writer.write(said(Level::Info, &"x".repeat(bytes)));
    }

    /// Fills a ring.
    fn fill(logs: &Logs, pipeline: usize, tenant: usize) {
        for _ in 0..200 {
            write(logs, pipeline, tenant, 4 << 10);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
        #[test]
        fn all_rings_together_are_within_their_bounds(
            writes in prop::collection::vec((0_usize..12, 0_usize..10, 0_usize..80_000), 200..2_000),
        ) {
            let logs = Logs::default();
            for (pipeline, tenant, bytes) in writes {
                write(&logs, pipeline, tenant, bytes);
                if bytes % 100 == 0 {
                    let kept: Vec<_> = (0..12).map(|p| name(&format!("p{p}"))).collect();
                    logs.keep_only(&kept.iter().filter(|kept| kept.as_str() != "p3").collect());
                }
            }
            let held = held(&logs);
            let share = logs.inner.share_bytes();
            prop_assert_eq!(held.len(), logs.inner.rings.load(Ordering::Relaxed));
            prop_assert!(held.iter().all(|bytes| *bytes <= share));
            prop_assert!(held.iter().sum::<usize>() <= MAX_BYTES);
        }
    }

    #[test]
    fn rings_have_equal_shares_of_what_there_is() {
        let logs = Logs::default();
        let full = MAX_BYTES / MAX_RING_BYTES;
        for tenant in 0..full {
            fill(&logs, 0, tenant);
        }
        let nearly = |share: usize| share - (9 << 10)..=share;
        assert!(held(&logs).iter().all(|bytes| nearly(MAX_RING_BYTES).contains(bytes)));
        for pipeline in 1..4 {
            for tenant in 0..full {
                write(&logs, pipeline, tenant, 10);
            }
        }
        let held_by_all = held(&logs);
        let (first, others) = held_by_all.split_at(full);
        assert!(first.iter().all(|bytes| nearly(MAX_RING_BYTES / 4).contains(bytes)), "{first:?}");
        assert!(others.iter().all(|bytes| *bytes > 0), "{others:?}");
        // Whoever is gone leaves its share to the others.
        logs.keep_only(&BTreeSet::from([&name("p0")]));
        fill(&logs, 0, 0);
        assert!(nearly(MAX_RING_BYTES).contains(&held(&logs)[0]));
    }

    #[test]
    fn what_is_not_in_service_keeps_nothing_and_begins_anew() {
        let logs = Logs::default();
        write(&logs, 0, 0, 10);
        let before = logs.get(&name("p0")).unwrap();
        let writer = before.writer(name("t0"), 1);
        logs.keep_only(&BTreeSet::new());
        assert!(logs.get(&name("p0")).is_none());
        writer.write(said(Level::Info, "late"));
        Writer::nowhere(name("t0")).write(said(Level::Info, "nobody reads this"));
        assert_eq!(before.end(), 0);
        assert_eq!(logs.inner.rings.load(Ordering::Relaxed), 0);
        write(&logs, 0, 0, 10);
        assert_eq!(held(&logs).len(), 1);
    }

    #[test]
    fn many_who_write_at_once_stay_within_the_bounds() {
        let logs = Logs::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let logs = &logs;
                scope.spawn(move || {
                    for turn in 0..400 {
                        write(logs, turn % 5, (turn / 5 + 10 * thread) % 40, 4 << 10);
                    }
                });
            }
        });
        let held = held(&logs);
        // All of the tenants of each pipeline.
        assert_eq!((held.len(), logs.inner.rings.load(Ordering::Relaxed)), (200, 200));
        assert!(held.iter().all(|bytes| *bytes <= logs.inner.share_bytes()), "{held:?}");
    }
}
