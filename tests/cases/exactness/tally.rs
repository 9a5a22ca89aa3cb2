//! What was counted, and what was wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Answer;

/// Violations that are reported in full; the others are only counted.
const REPORTED: usize = 5;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An answer is not exact at the position that it states.
    Wrong,
    /// An answer states less than a write that was answered 200, than an earlier answer, or than
    /// its request demanded.
    Stale,
    /// Answers to the same question at the same position differ.
    Unequal,
    /// A header is missing or malformed, or a cached answer is split.
    Form,
    /// The log is one that no sequence of the writes could have made.
    Log,
    /// The server failed or could not be reached.
    Failed,
}

/// What was wrong: how often, and the first few in words.
#[derive(Debug)]
pub(super) struct Findings {
    counts: BTreeMap<Kind, usize>,
    texts: Vec<String>,
}

impl Findings {
    /// Whether nothing was wrong.
    pub(super) fn is_none(&self) -> bool {
        self.counts.is_empty()
    }

    /// Asserts that nothing was wrong.
    pub(super) fn assert_none(&self) {
        assert!(self.is_none(), "{:?}\n{}", self.counts, self.texts.join("\n\n"));
    }

    /// Whether there are wrong answers.
    ///
    /// # Panics
    /// Something else was wrong.
    pub(super) fn wrong_answers(&self) -> bool {
        let about_answers = |kind: &Kind| matches!(kind, Kind::Wrong | Kind::Stale | Kind::Unequal);
        assert!(self.counts.keys().all(about_answers), "{}", self.texts.join("\n\n"));
        !self.is_none()
    }
}

/// Counters of one run.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answers: AtomicU64,
    pub(super) hits: AtomicU64,
    /// Hits in the shared tier.
    pub(super) shared_hits: AtomicU64,
    /// Hits that say that something has changed since they were made.
    pub(super) old_hits: AtomicU64,
    /// Hits whose ttl has passed.
    pub(super) expired_hits: AtomicU64,
    pub(super) followers: AtomicU64,
    pub(super) stored: AtomicU64,
    /// Answers that stated less than the checker knew when it asked.
    pub(super) lagging: AtomicU64,
    pub(super) split: AtomicU64,
    /// Answers that said that there is no such collection.
    pub(super) absent: AtomicU64,
    /// Requests with a demanded position that were answered with 200.
    pub(super) demanding: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Requests whose demanded position was not reached in time.
    pub(super) late: AtomicU64,
    /// Answers that were compared with the oracle, apart from those with the same bytes.
    pub(super) compared: AtomicU64,
    /// Answers that could not be compared, because a kill left a write's position open.
    pub(super) unchecked: AtomicU64,
    pub(super) writes: AtomicU64,
    /// Writes that were answered 200.
    pub(super) searchable: AtomicU64,
    pub(super) drops: AtomicU64,
    pub(super) resolved: AtomicU64,
    pub(super) rolls: AtomicU64,
    pub(super) restarts: AtomicU64,
    /// What happened to Redis, and passed.
    pub(super) disturbances: AtomicU64,
    violations: Mutex<(BTreeMap<Kind, usize>, Vec<String>)>,
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Tally {
    /// Records that something is wrong, and prints the first few.
    pub(super) fn violation(&self, kind: Kind, text: String) {
        let (counts, texts) = &mut *self.violations.lock().unwrap();
        let count = counts.entry(kind).or_default();
        *count += 1;
        // Each kind has its share, so that one does not hide the others.
        if *count <= REPORTED {
            println!("{kind:?}: {text}\n");
            texts.push(format!("{kind:?}: {text}"));
        }
    }

    /// How an answer with status 200 was obtained.
    pub(super) fn obtained(&self, answer: &Answer) {
        let status = answer.header("cache-status");
        for (part, counter) in [
            ("hit", &self.hits),
            ("detail=shared", &self.shared_hits),
            ("detail=stale-after-change", &self.old_hits),
            ("detail=stale-while-revalidate", &self.expired_hits),
            ("collapsed", &self.followers),
            ("stored", &self.stored),
        ] {
            if status.split([';', ' ']).any(|word| word == part) {
                add(counter);
            }
        }
    }

    /// The share of answers, in percent.
    pub(super) fn share(&self, counter: &AtomicU64) -> f64 {
        percent(get(counter), get(&self.answers))
    }

    /// The share of writes that were answered 200, in percent.
    pub(super) fn searchable_share(&self) -> f64 {
        percent(get(&self.searchable), get(&self.writes))
    }

    /// What was wrong.
    pub(super) fn findings(&self) -> Findings {
        let (counts, texts) = &*self.violations.lock().unwrap();
        Findings { counts: counts.clone(), texts: texts.clone() }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counts, _) = &*self.violations.lock().unwrap();
        let share = |counter| format!("{} ({:.1} %)", get(counter), self.share(counter));
        writeln!(f, "answers {}", get(&self.answers))?;
        for (name, counter) in [
            ("hits", &self.hits),
            ("hits in the shared tier", &self.shared_hits),
            ("hits that have changed since", &self.old_hits),
            ("hits that have expired", &self.expired_hits),
            ("followers", &self.followers),
            ("stored", &self.stored),
            ("given while the index lagged", &self.lagging),
            ("split", &self.split),
            ("unknown collection", &self.absent),
            ("with a demanded position", &self.demanding),
            ("compared with the oracle", &self.compared),
            ("unchecked", &self.unchecked),
            ("not reached in time", &self.late),
            ("refused", &self.refused),
        ] {
            writeln!(f, "  {name} {}", share(counter))?;
        }
        let (writes, searchable) = (get(&self.writes), self.searchable_share());
        writeln!(f, "writes {writes}, of which {searchable:.1} % answered 200")?;
        for (name, counter) in [
            ("drops", &self.drops),
            ("writes resolved after a restart", &self.resolved),
            ("rolls of collections that were not small", &self.rolls),
            ("restarts", &self.restarts),
            ("disturbances of Redis", &self.disturbances),
        ] {
            writeln!(f, "{name} {}", get(counter))?;
        }
        write!(f, "violations {counts:?}")
    }
}
