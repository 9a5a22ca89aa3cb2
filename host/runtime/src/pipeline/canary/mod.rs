//! A candidate beside what is deployed, and when it is rolled back by itself.
//!
//! Runs are compared, not requests: a candidate begins without cached answers, so its requests are slower
//! whatever it does. Two things are, each by [Fisher's exact test](fisher), one-sided:
//!
//! - the share of runs that fail by the pipeline's fault ([`RunError::is_fault`], or an answer of 5xx);
//! - the share of runs that take longer than nine in ten of the base's do, and that of those that take longer than
//!   half of the base's do: where a tenth of the base's runs are far slower than the others, the first does not see
//!   that the others have become slower. A candidate must also have twice as many of the former, or 1.3 times as
//!   many of the latter, because with enough runs any difference is significant.
//!
//! It is looked at when the candidate has had 300 runs, and each time that number has doubled, if the base has
//! had 300 too. Many looks find something by chance that one does not, so the probability at which a test
//! decides, 10⁻⁴ in all, is divided: the `n`th look has 1 / `n` (`n` + 1) of it, which add up to one, and each of
//! the three tests has a third of that. So of 10,000 candidates that are no different, at most one is rolled back on average,
//! however long they are in service.
//!
//! Out of scope: which requests a candidate answers, and what a rollback is (`deploy`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::{AtomicHistogram32, Config};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::trace;

use self::fisher::{Share, probability};
use super::answer::Answer;
use super::error::RunError;

pub mod fisher;

/// How many runs both must have had before the first look.
const FEWEST_RUNS: u64 = 300;
/// How probable it may be that a candidate is rolled back that is no different.
const BY_CHANCE: f64 = 1e-4;
const TESTS: f64 = 3.0;
/// The part of the base's runs that are slow, and how many times as many a candidate must have.
const SLOW: (f64, f64) = (0.1, 2.0);
/// The same of those in the slower half.
const SLOWER_HALF: (f64, f64) = (0.5, 1.3);
/// In microseconds, up to 19 hours; a bucket is no wider than a 32nd of what is in it.
const BUCKETS: Config = match Config::new(5, 36) {
    Ok(buckets) => buckets,
    Err(_) => panic!("the powers do not fit together"),
};
const LONGEST_MICROSECONDS: u64 = (1 << BUCKETS.max_value_power()) - 1;

/// Which of the two has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was deployed before.
    Base,
    /// What is tried.
    Candidate,
}

/// The runs of a candidate, and those of the base since then.
pub struct Canary {
    base: Runs,
    candidate: Runs,
    /// How many runs of the candidate lead to the next look.
    next_look: AtomicU64,
    looks: Mutex<u32>,
    /// There is one at most.
    verdict: watch::Sender<Option<Verdict>>,
}

struct Runs {
    all: AtomicU64,
    failed: AtomicU64,
    microseconds: AtomicHistogram32,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The runs that failed.
    pub failed: Pair,
    /// The runs that took longer than nine in ten of the base's.
    pub slow: Pair,
    /// The runs that took longer than half of the base's.
    pub slower_half: Pair,
    /// How many runs of the candidate lead to the next look.
    pub next_look: u64,
}

/// Of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Of what was deployed before.
    pub base: Share,
    /// Of what is tried.
    pub candidate: Share,
}

/// Why a candidate is rolled back.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was found.
    pub found: Found,
    /// How many runs it was.
    pub runs: Pair,
    /// The probability that two which are no different differ as much.
    pub by_chance: f64,
}

/// What is worse about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// More runs fail.
    Fails,
    /// More runs are slow.
    Slow,
    /// More runs are slower than was usual.
    Slower,
}

impl Found {
    /// A short stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Slow => "slow",
            Self::Slower => "slower",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, runs: Pair { base, candidate }, by_chance } = self;
        let what = match found {
            Found::Fails => "failed",
            Found::Slow => "took longer than nine in ten of the others",
            Found::Slower => "took longer than half of the others",
        };
        write!(
            f,
            "{} of the candidate's {} runs {what}, and {} of the {} others (by chance: {by_chance:.0e})",
            candidate.with, candidate.of, base.with, base.of
        )
    }
}

/// One side of a comparison, for whoever runs the pipeline.
#[derive(Clone)]
pub struct Watched {
    /// The comparison.
    pub canary: Arc<Canary>,
    /// The side.
    pub side: Side,
}

impl Watched {
    /// Notes how a run has ended.
    pub fn ran(&self, outcome: &Result<Answer, RunError>, took: Duration) {
        let failed = match outcome {
            Ok(answer) => answer.status.is_server_error(),
            Err(error) if error.is_refusal() => return,
            Err(error) => error.is_fault(),
        };
        self.canary.ran(self.side, failed, took);
    }
}

impl Canary {
    /// A comparison that begins now.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        Arc::new(Self {
            base: Runs::new(),
            candidate: Runs::new(),
            next_look: AtomicU64::new(FEWEST_RUNS),
            looks: Mutex::new(0),
            verdict: watch::Sender::new(None),
        })
    }

    /// Is told if the candidate is to be rolled back, until the comparison ends.
    #[must_use]
    pub fn verdict(&self) -> watch::Receiver<Option<Verdict>> {
        self.verdict.subscribe()
    }

    fn ran(&self, side: Side, failed: bool, took: Duration) {
        // What `cargo xtask soak canaries` records.
        trace!(?side, failed, microseconds = took.as_micros() as u64, "ran");
        match side {
            Side::Base => self.base.add(failed, took),
            Side::Candidate => self.candidate.add(failed, took),
        }
        let is_due = self.candidate.all.load(Relaxed) >= self.next_look.load(Relaxed)
            && self.base.all.load(Relaxed) >= FEWEST_RUNS;
        if is_due {
            self.look();
        }
    }

    fn look(&self) {
        let mut looks = self.looks.lock();
        let runs = self.candidate.all.load(Relaxed);
        let mut next_look = self.next_look.load(Relaxed);
        if runs < next_look || self.verdict.borrow().is_some() {
            return;
        }
        while next_look <= runs {
            next_look *= 2;
        }
        self.next_look.store(next_look, Relaxed);
        *looks += 1;
        if let Some(verdict) = self.seen().verdict(*looks) {
            self.verdict.send_replace(Some(verdict));
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let [base, candidate] = [&self.base, &self.candidate].map(|runs| runs.microseconds.load());
        let (base, candidate) = (base.as_slice(), candidate.as_slice());
        Seen {
            failed: Pair { base: self.base.failed(), candidate: self.candidate.failed() },
            slow: slowest(SLOW.0, base, candidate),
            slower_half: slowest(SLOWER_HALF.0, base, candidate),
            next_look: self.next_look.load(Relaxed),
        }
    }
}

/// The runs in the slowest buckets that have no more than this part of the base's.
fn slowest(part: f64, base: &[u32], candidate: &[u32]) -> Pair {
    let of = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
    let most = (of(base) as f64 * part) as u64;
    let (mut first, mut slow) = (base.len(), 0);
    while first > 0 && slow + u64::from(base[first - 1]) <= most {
        first -= 1;
        slow += u64::from(base[first]);
    }
    Pair {
        base: Share { of: of(base), with: slow },
        candidate: Share { of: of(candidate), with: of(&candidate[first..]) },
    }
}

impl Seen {
    /// Whether the candidate is to be rolled back, at the `look`th look.
    fn verdict(&self, look: u32) -> Option<Verdict> {
        let look = f64::from(look);
        let enough = BY_CHANCE / TESTS / (look * (look + 1.0));
        let judge = |found, runs: Pair| {
            let by_chance = probability(runs.base, runs.candidate);
            (by_chance < enough).then_some(Verdict { found, runs, by_chance })
        };
        let many = |runs: Pair, (part, times): (f64, f64)| runs.candidate.ratio() >= part * times;
        let is_slow = many(self.slow, SLOW);
        let is_slower = many(self.slower_half, SLOWER_HALF);
        judge(Found::Fails, self.failed)
            .or_else(|| judge(Found::Slow, self.slow).filter(|_| is_slow))
            .or_else(|| judge(Found::Slower, self.slower_half).filter(|_| is_slower))
    }
}

impl Runs {
    fn new() -> Self {
        let microseconds = AtomicHistogram32::with_config(&BUCKETS);
        Self { all: AtomicU64::new(0), failed: AtomicU64::new(0), microseconds }
    }

    fn add(&self, failed: bool, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // Never refused: it is within the last bucket.
        let _ = self.microseconds.increment(microseconds.min(LONGEST_MICROSECONDS));
        self.failed.fetch_add(u64::from(failed), Relaxed);
        self.all.fetch_add(1, Relaxed);
    }

    fn failed(&self) -> Share {
        // In this order: a run that ends meanwhile must not fail without being one.
        let with = self.failed.load(Relaxed);
        Share { of: self.all.load(Relaxed).max(with), with }
    }
}

#[cfg(test)]
mod tests;
