//! How long a pipeline's requests took, by their outcome: exactly enough to trust a p99 of the last
//! minute, and cheap enough to be recorded for every hit.
//!
//! Recording is one atomic addition to a bucket, and one to the sum. Somebody must call
//! [`Latencies::turn`] every [`SLICE`]: it moves what was recorded since the last call to the past,
//! and forgets what is older than a minute. Out of scope: what is done with the figures, and how
//! they are exposed (`weir-server`).

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use histogram::{AtomicHistogram32, Config, Histogram32, SparseHistogram32};
use parking_lot::Mutex;

/// How often [`Latencies::turn`] must be called.
pub const SLICE: Duration = Duration::from_secs(10);
/// Together with the slice that is being recorded, these are the last minute, and up to 10 s more.
const SLICES: usize = 6;

/// Latencies in nanoseconds. A bucket is no wider than a 32nd of what is in it, so its middle is
/// within 1.6 %. Above 2³⁷ ns, which is 137 s, all are in the last bucket. An outcome takes 4 KiB,
/// and 8 bytes for each bucket that a slice uses: less than 56 KiB in all, if they use each.
const BUCKETS: Config = match Config::new(5, 37) {
    Ok(buckets) => buckets,
    Err(_) => panic!("the powers do not fit together"),
};
const LONGEST_NANOSECONDS: u64 = (1 << BUCKETS.max_value_power()) - 1;

/// How a request to a pipeline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer came from the memory tier.
    Hit = 0,
    /// The answer came from a run that was already in progress.
    Collapsed = 1,
    /// The cache had no answer, and the pipeline made one.
    Miss = 2,
    /// The cache was not asked, and the pipeline made an answer.
    Bypass = 3,
    /// There is no answer, but not by the pipeline's fault: no slot or memory was free, or a position
    /// was not reached.
    Refused = 4,
    /// There is no answer: the pipeline failed, or would have used more than it may.
    Failed = 5,
    /// The client left before.
    Abandoned = 6,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Collapsed,
        Self::Miss,
        Self::Bypass,
        Self::Refused,
        Self::Failed,
        Self::Abandoned,
    ];

    /// A short stable name, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The latencies of one pipeline's requests. An outcome takes memory from its first request on.
#[derive(Default)]
pub struct Latencies {
    by_outcome: [OnceLock<OfOutcome>; Outcome::ALL.len()],
}

struct OfOutcome {
    /// Those of the slice that is being recorded, and their sum in nanoseconds.
    slice: AtomicHistogram32,
    nanoseconds: AtomicU64,
    /// Locked by those who read and turn, never by those who record.
    past: Mutex<Past>,
}

/// What is no longer being recorded.
#[derive(Default)]
struct Past {
    /// The oldest first.
    slices: VecDeque<SparseHistogram32>,
    count: u64,
    sum: Duration,
}

/// What was recorded for one outcome of one pipeline.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How many requests there were since the start.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
    /// The last of them.
    pub last_minute: Window,
}

/// The latencies of the requests that ended in the last minute, or up to 10 s before.
#[derive(Clone, Debug)]
pub struct Window(Histogram32);

impl Latencies {
    /// Begins to measure a request.
    pub fn begin(&self) -> Timing<'_> {
        Timing { latencies: self, began: Instant::now(), outcome: Outcome::Abandoned }
    }

    /// Records a request that took this long.
    pub fn record(&self, outcome: Outcome, took: Duration) {
        let recorded = self.by_outcome[outcome as usize].get_or_init(OfOutcome::new);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Never refused: it is within the last bucket.
        let _ = recorded.slice.increment(nanoseconds.min(LONGEST_NANOSECONDS));
        recorded.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What was recorded for `outcome`; `None` if no request has ended like this.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> Option<Recorded> {
        self.by_outcome[outcome as usize].get().map(OfOutcome::read)
    }

    /// Ends the slice that is being recorded.
    pub fn turn(&self) {
        self.by_outcome.iter().filter_map(OnceLock::get).for_each(OfOutcome::turn);
    }
}

impl OfOutcome {
    fn new() -> Self {
        Self {
            slice: AtomicHistogram32::with_config(&BUCKETS),
            nanoseconds: AtomicU64::default(),
            past: Mutex::default(),
        }
    }

    fn read(&self) -> Recorded {
        let past = self.past.lock();
        let mut last_minute = self.slice.load();
        let count = past.count + count(&last_minute);
        let sum = past.sum + Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed));
        let buckets = last_minute.as_mut_slice();
        for slice in &past.slices {
            for (index, count) in slice.index().iter().zip(slice.count()) {
                let bucket = &mut buckets[*index as usize];
                *bucket = bucket.saturating_add(*count);
            }
        }
        Recorded { count, sum, last_minute: Window(last_minute) }
    }

    fn turn(&self) {
        let mut past = self.past.lock();
        // A request that is recorded meanwhile is in this slice or in the next one.
        let slice = self.slice.drain();
        past.count += count(&slice);
        past.sum += Duration::from_nanos(self.nanoseconds.swap(0, Ordering::Relaxed));
        let mut slice = SparseHistogram32::from(&slice);
        slice.shrink_to_fit();
        past.slices.push_back(slice);
        if past.slices.len() > SLICES {
            past.slices.pop_front();
        }
    }
}

impl Window {
    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        count(&self.0)
    }

    /// The latency that this share of the requests did not exceed, such as 0.99, within 1.6 %.
    /// `None` if there were no requests, or the share is not one.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let bucket = self.0.quantile_bucket(share).ok().flatten()?;
        Some(Duration::from_nanos(u64::midpoint(bucket.start(), bucket.end())))
    }
}

fn count(latencies: &Histogram32) -> u64 {
    latencies.as_slice().iter().map(|count| u64::from(*count)).sum()
}

/// A request that is being measured. One that is dropped before it [ends](Self::end) was abandoned.
#[must_use = "it records when it is dropped"]
pub struct Timing<'a> {
    latencies: &'a Latencies,
    began: Instant,
    outcome: Outcome,
}

impl Timing<'_> {
    /// When the request began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Records that the request has ended.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { Outcome::Failed } else { self.outcome };
        self.latencies.record(outcome, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const QUANTILES: [f64; 6] = [0.01, 0.5, 0.9, 0.99, 0.999, 1.0];
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_secs(100);

    /// The quantile of `latencies`, which are sorted, by its definition.
    fn exact(latencies: &[Duration], share: f64) -> Duration {
        let rank = (share * latencies.len() as f64).ceil() as usize;
        latencies[rank.max(1) - 1]
    }

    fn assert_within_5_percent(mut latencies: Vec<Duration>) {
        latencies.sort();
        let recorded = Latencies::default();
        for (number, latency) in latencies.iter().enumerate() {
            recorded.record(Outcome::Hit, *latency);
            if number % 500 == 499 {
                recorded.by_outcome[0].get().unwrap().turn();
            }
        }
        let last_minute = recorded.of(Outcome::Hit).unwrap().last_minute;
        assert_eq!(last_minute.count(), latencies.len() as u64);
        for share in QUANTILES {
            let (is, should_be) = (last_minute.quantile(share).unwrap(), exact(&latencies, share));
            let error = is.as_secs_f64() / should_be.as_secs_f64() - 1.0;
            assert!(error.abs() <= 0.05, "{share}: {is:?} instead of {should_be:?}");
        }
    }

    /// Latencies from the one to the other, of which each magnitude has as many.
    fn between(from: Duration, to: Duration) -> impl Strategy<Value = Duration> {
        let (from, to) = (from.as_secs_f64().ln(), to.as_secs_f64().ln());
        (0.0..=1.0)
            .prop_map(move |at: f64| Duration::from_secs_f64((from + (to - from) * at).exp()))
    }

    fn many(latency: impl Strategy<Value = Duration>) -> impl Strategy<Value = Vec<Duration>> {
        prop::collection::vec(latency, 1..3_000)
    }

    fn milliseconds(milliseconds: f64) -> Duration {
        Duration::from_secs_f64(milliseconds / 1e3)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn quantiles_of_any_magnitude_are_within_5_percent(all in many(between(SHORTEST, LONGEST))) {
            assert_within_5_percent(all);
        }

        #[test]
        fn quantiles_of_nearly_equal_latencies_are_within_5_percent(
            around in between(SHORTEST, LONGEST),
            shares in prop::collection::vec(1.0..1.1, 1..3_000),
        ) {
            assert_within_5_percent(shares.into_iter().map(|share| around.mul_f64(share)).collect());
        }

        #[test]
        fn quantiles_of_fast_and_slow_are_within_5_percent(
            all in many(prop_oneof![
                95 => between(SHORTEST, milliseconds(0.2)),
                5 => between(milliseconds(20.0), milliseconds(300.0)),
            ])
        ) {
            assert_within_5_percent(all);
        }

        #[test]
        fn quantiles_of_a_long_tail_are_within_5_percent(
            all in many((0.001..1.0_f64).prop_map(|share| milliseconds(0.05 / share.powi(2))))
        ) {
            assert_within_5_percent(all);
        }
    }

    #[test]
    fn each_latency_alone_is_within_5_percent() {
        let mut latency = SHORTEST;
        while latency <= LONGEST {
            assert_within_5_percent(vec![latency]);
            latency = latency.mul_f64(1.003);
        }
    }

    #[test]
    fn what_is_out_of_range_is_counted() {
        let latencies = Latencies::default();
        for latency in [Duration::ZERO, Duration::from_secs(1_000), Duration::MAX] {
            latencies.record(Outcome::Miss, latency);
        }
        let last_minute = latencies.of(Outcome::Miss).unwrap().last_minute;
        assert_eq!(last_minute.count(), 3);
        assert_eq!(last_minute.quantile(0.0), Some(Duration::ZERO));
        assert!(last_minute.quantile(1.0).unwrap() > Duration::from_secs(130));
        assert_eq!(last_minute.quantile(1.1), None);
    }

    #[test]
    fn a_minute_later_only_the_totals_are_left() {
        let latencies = Latencies::default();
        latencies.record(Outcome::Miss, Duration::from_millis(3));
        for slices in 0..=SLICES {
            let last_minute = latencies.of(Outcome::Miss).unwrap().last_minute;
            assert_eq!(last_minute.count(), 1, "after {slices} slices");
            latencies.turn();
        }
        latencies.record(Outcome::Miss, Duration::from_millis(5));
        let recorded = latencies.of(Outcome::Miss).unwrap();
        assert_eq!((recorded.count, recorded.sum), (2, Duration::from_millis(8)));
        assert_eq!(recorded.last_minute.count(), 1);
        latencies.turn();
        (0..SLICES).for_each(|_| latencies.turn());
        let recorded = latencies.of(Outcome::Miss).unwrap();
        assert_eq!((recorded.count, recorded.sum), (2, Duration::from_millis(8)));
        assert_eq!(recorded.last_minute.quantile(0.5), None);
    }

    #[test]
    fn outcomes_are_apart() {
        for outcome in Outcome::ALL {
            let latencies = Latencies::default();
            latencies.begin().end(outcome);
            for other in Outcome::ALL {
                let count = latencies.of(other).map(|recorded| recorded.count);
                assert_eq!(count, (other == outcome).then_some(1), "{outcome:?}, {other:?}");
            }
        }
    }

    #[test]
    fn a_request_that_does_not_end_was_abandoned_or_has_failed() {
        let latencies = Latencies::default();
        drop(latencies.begin());
        assert_eq!(latencies.of(Outcome::Abandoned).unwrap().count, 1);
        let panics = std::panic::AssertUnwindSafe(|| {
            let _timing = latencies.begin();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(latencies.of(Outcome::Failed).unwrap().count, 1);
    }

    #[test]
    fn no_request_is_lost_while_slices_turn() {
        const THREADS: u64 = 4;
        const EACH: u64 = 50_000;
        let latencies = Latencies::default();
        std::thread::scope(|scope| {
            let record =
                || (0..EACH).for_each(|n| latencies.record(Outcome::Hit, Duration::from_nanos(n)));
            let recording: Vec<_> = (0..THREADS).map(|_| scope.spawn(record)).collect();
            while !recording.iter().all(|thread| thread.is_finished()) {
                latencies.turn();
            }
        });
        let recorded = latencies.of(Outcome::Hit).unwrap();
        let sum = Duration::from_nanos(THREADS * (0..EACH).sum::<u64>());
        assert_eq!((recorded.count, recorded.sum), (THREADS * EACH, sum));
    }
}
