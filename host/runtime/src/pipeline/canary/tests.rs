//! The rule against simulated runs, and against recorded ones.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::env;
use std::fs;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

const SIDES: [Side; 2] = [Side::Base, Side::Candidate];

/// The times of runs as they are under load: most are short, some meet a burst, and those come together.
struct Load {
    random: SmallRng,
    burst: u32,
}

impl Load {
    fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), burst: 0 }
    }

    /// One in a thousand fails.
    fn run(&mut self) -> (bool, Duration) {
        let took = self.took();
        (self.random.random_ratio(1, 1_000), took)
    }

    fn took(&mut self) -> Duration {
        if self.burst == 0 && self.random.random_ratio(1, 200) {
            self.burst = self.random.random_range(5..50);
        }
        self.burst = self.burst.saturating_sub(1);
        let exponential = -self.random.random_range(f64::MIN_POSITIVE..1.0).ln();
        let slowed = if self.burst > 0 { 10.0 } else { 1.0 };
        Duration::from_secs_f64(1e-3 * (1.0 + exponential) * slowed)
    }
}

/// Runs that were recorded on a server under load, in the order in which they ended. Windows are made of blocks that
/// begin anywhere, so that what comes together stays together.
struct Recorded {
    random: SmallRng,
    runs: Arc<[(bool, Duration)]>,
    next: usize,
    left: usize,
}

impl Recorded {
    /// Longer than a burst.
    const BLOCK: usize = 200;

    /// A line for each run: whether it has failed, and its microseconds.
    fn read(text: &str) -> Arc<[(bool, Duration)]> {
        let run = |line: &str| {
            let (failed, took) = line.split_once(' ').expect("two values");
            let took = took.parse().expect("a number of microseconds");
            (failed == "true", Duration::from_micros(took))
        };
        text.lines().map(run).collect()
    }

    fn run(&mut self) -> (bool, Duration) {
        if self.left == 0 {
            self.next = self.random.random_range(0..self.runs.len());
            self.left = Self::BLOCK;
        }
        let run = self.runs[self.next % self.runs.len()];
        (self.next, self.left) = (self.next + 1, self.left - 1);
        run
    }
}

/// What decides whose request is next.
trait Random {
    fn random(&mut self) -> &mut SmallRng;
}

impl Random for Load {
    fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }
}

impl Random for Recorded {
    fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }
}

/// Runs both sides, of which the candidate's has this share of the requests, until there is a verdict or
/// the candidate has had so many runs.
fn compare<L: Random>(
    load: &mut L,
    percent: u32,
    runs: u64,
    base: impl Fn(&mut L) -> (bool, Duration),
    candidate: impl Fn(&mut L) -> (bool, Duration),
) -> Option<(Verdict, u64)> {
    let canary = Canary::begin();
    let mut ran = 0;
    while ran < runs {
        if load.random().random_ratio(percent, 100) {
            let (failed, took) = candidate(load);
            canary.ran(Side::Candidate, failed, took);
            ran += 1;
        } else {
            let (failed, took) = base(load);
            canary.ran(Side::Base, failed, took);
        }
        if let Some(verdict) = canary.verdict().borrow().clone() {
            return Some((verdict, ran));
        }
    }
    None
}

#[test]
fn one_that_fails_or_is_slow_is_found_each_time() {
    for percent in [5, 50, 95] {
        for seed in 0..20 {
            let load = &mut Load::new(seed);
            let fails = |load: &mut Load| (load.random.random_ratio(5, 100), load.took());
            let (verdict, runs) =
                compare(load, percent, 38_400, Load::run, fails).expect("it fails");
            assert_eq!(verdict.found, Found::Fails, "{verdict}");
            assert!(runs <= 20_000, "{percent} %: {runs}");
            let slow = |load: &mut Load| (false, load.took() * 3);
            let (verdict, runs) =
                compare(load, percent, 38_400, Load::run, slow).expect("it is slow");
            assert_ne!(verdict.found, Found::Fails, "{verdict}");
            assert!(runs <= 20_000, "{percent} %: {runs}");
        }
    }
}

/// Of 10,000, at most one may be found by chance.
#[test]
fn one_that_is_no_different_stays() {
    // Without optimisation, they take minutes.
    const WINDOWS: u64 = if cfg!(debug_assertions) { 300 } else { 10_000 };
    let mut found = Vec::new();
    for seed in 0..WINDOWS {
        let load = &mut Load::new(1_000 + seed);
        found.extend(compare(load, 50, 2_400, Load::run, Load::run));
    }
    assert!(found.len() <= 1, "{found:?}");
}

/// Of 10,000, at most one may be found by chance.
#[test]
#[ignore = "needs a recording: cargo xtask soak canaries"]
fn of_windows_of_recorded_runs_almost_none_is_found() {
    const WINDOWS: u64 = 10_000;
    let path = env::var("WEIR_RECORDED_RUNS").expect("`cargo xtask soak canaries` sets it");
    let runs = Recorded::read(&fs::read_to_string(path).expect("it is a file"));
    assert!(runs.len() >= 20_000, "{}", runs.len());
    let mut found = Vec::new();
    for seed in 0..WINDOWS {
        let random = SmallRng::seed_from_u64(seed);
        let load = &mut Recorded { random, runs: Arc::clone(&runs), next: 0, left: 0 };
        let percent = if seed % 2 == 0 { 50 } else { 10 };
        found.extend(compare(load, percent, 2_400, Recorded::run, Recorded::run));
    }
    println!("{} of {WINDOWS} windows of {} runs: {found:?}", found.len(), runs.len());
    assert!(found.len() <= 1, "{found:?}");
    // Windows like these show what is slow.
    let random = SmallRng::seed_from_u64(WINDOWS);
    let load = &mut Recorded { random, runs, next: 0, left: 0 };
    let slow = |load: &mut Recorded| {
        let (failed, took) = load.run();
        (failed, took * 3)
    };
    assert!(compare(load, 50, 2_400, Recorded::run, slow).is_some());
}

#[test]
fn one_that_is_a_little_slower_stays() {
    let load = &mut Load::new(7);
    let slower = |load: &mut Load| (false, load.took().mul_f64(1.1));
    assert_eq!(compare(load, 50, 76_800, Load::run, slower), None);
}

#[test]
fn nothing_is_decided_before_both_have_had_enough_runs() {
    let canary = Canary::begin();
    let fast = Duration::from_millis(1);
    for _ in 0..10 * FEWEST_RUNS {
        canary.ran(Side::Candidate, true, fast);
    }
    for _ in 1..FEWEST_RUNS {
        canary.ran(Side::Base, false, fast);
        assert_eq!(*canary.verdict().borrow(), None);
    }
    canary.ran(Side::Base, false, fast);
    let verdict = canary.verdict().borrow().clone().expect("both have");
    assert_eq!(verdict.runs.candidate, Share { of: 3_000, with: 3_000 });
    assert_eq!(verdict.runs.base, Share { of: 300, with: 0 });
}

#[test]
fn refusals_are_no_runs_and_wrong_requests_no_failures() {
    use super::super::error::FailureKind;
    let canary = Canary::begin();
    let failure = |kind| RunError::Failure { kind, code: String::new(), message: String::new() };
    for (error, runs, failed) in [
        (RunError::NoMemory, 0, 0),
        (RunError::PositionNotAvailable, 0, 0),
        (failure(FailureKind::InvalidRequest), 1, 0),
        (failure(FailureKind::Failed), 2, 1),
        (RunError::DeadlineExceeded { deadline_ms: 1 }, 3, 2),
        (RunError::Trapped(String::new()), 4, 3),
    ] {
        let watched = Watched { canary: Arc::clone(&canary), side: SIDES[1] };
        let said = error.to_string();
        watched.ran(&Err(error), Duration::ZERO);
        let seen = canary.seen().failed.candidate;
        assert_eq!(seen, Share { of: runs, with: failed }, "{said}");
    }
}
