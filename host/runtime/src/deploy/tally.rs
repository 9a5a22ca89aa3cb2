//! How the requests to a deployment were answered, exactly; and of a sample of its hits, their ages and the
//! hottest keys.
//!
//! A hit pays for one atomic addition, and one in 64 is sampled. Everything else has missed the memory tier,
//! and can pay for a lock. Memory: 14 KiB for a deployment that has had requests, most of it for the
//! [windows](weir_cache::usage::windows) and the [hottest keys](weir_cache::usage::hottest).
//!
//! Requests whose clients have left before their end are not in it. Out of scope: how a request ended
//! (`answers`), and latencies (`pipeline::latencies`).

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use weir_cache::CacheKey;
use weir_cache::usage::ages::Ages;
use weir_cache::usage::holding::Holding;
use weir_cache::usage::hottest::{Hot, Hottest};
use weir_cache::usage::windows::{Share, Shares, Windows};
use weir_cache::usage::{self, ByReason};

/// One hit in so many is sampled.
pub const HITS_A_SAMPLE: u64 = 1 << SAMPLE_BITS;
const SAMPLE_BITS: u32 = 6;
/// The golden ratio: its multiples spread evenly, also those of every other number, every third and so on.
/// So keys that are asked for in turn are all sampled, which every 64th hit would not do.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How a request ended for which the memory tier was asked and had no hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of the shared tier.
    SharedHit,
    /// With an old answer, for this reason.
    Stale(&'static str),
    /// With the answer of another request's run.
    Collapsed,
    /// With an answer of its own.
    Ran {
        /// Why that was not stored; `None` if it was.
        not_stored: Option<&'static str>,
    },
    /// Without an answer, for this reason.
    Failed(&'static str),
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hits of the memory tier.
    pub hits: u64,
    /// Answers of the shared tier.
    pub shared_hits: u64,
    /// Old answers, by the reason for which they were served.
    pub stale: ByReason,
    /// Answers of other requests' runs.
    pub collapsed: u64,
    /// Answers of runs, by the reason for which the memory tier had no hit.
    pub misses: ByReason,
    /// Those of them that were not stored, by the reason.
    pub not_stored: ByReason,
    /// Answers for which the cache was not asked, by the reason.
    pub bypassed: ByReason,
    /// Requests without an answer, by the reason.
    pub failed: ByReason,
    /// Lookups in the memory tier that found nothing to serve at once, by the reason.
    pub memory_misses: ByReason,
    /// Lookups in the shared tier that found an answer.
    pub shared_lookup_hits: u64,
    /// Those that did not, by the reason.
    pub shared_lookup_misses: ByReason,
}

/// What is known of a deployment's hits from a sample.
#[derive(Default)]
struct Sampled {
    hottest: Hottest,
    ages: Ages,
}

/// A key that is asked for often. The numbers are estimates, from the sampled hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: CacheKey,
    /// How many hits it has had.
    pub hits: u64,
    /// By how much that may be too large because there are fewer counters than keys. That a sample is not
    /// the whole comes on top.
    pub over: u64,
}

/// Counts the requests to one deployment.
#[derive(Default)]
pub struct Tally {
    hits: OnItsOwnLine,
    others: Mutex<Counts>,
    sampled: Mutex<Sampled>,
    windows: Windows,
    /// Its answers in the memory tier, which all deployments of the tenant share.
    pub holding: Arc<Holding>,
}

/// Apart from what other cores write: two cache lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct OnItsOwnLine(AtomicU64);

impl Tally {
    /// Counts a hit of the memory tier.
    pub(crate) fn hit(&self, key: &CacheKey, age: Duration) {
        let number = self.hits.0.fetch_add(1, Relaxed);
        if number.wrapping_mul(GOLDEN) >> (u64::BITS - SAMPLE_BITS) == 0 {
            self.sample(key, age);
        }
    }

    #[cold]
    fn sample(&self, key: &CacheKey, age: Duration) {
        // Nobody waits for a sample.
        if let Some(mut sampled) = self.sampled.try_lock() {
            sampled.hottest.note(*key);
            sampled.ages.note(age);
        }
    }

    /// Counts a request for which the memory tier was asked and had no hit, because of `no_hit`.
    pub(crate) fn missed(&self, no_hit: &'static str, ended: Ended) {
        let counts = &mut *self.others.lock();
        if !matches!(ended, Ended::Stale(_)) {
            count(&mut counts.memory_misses, no_hit);
        }
        match ended {
            Ended::SharedHit => counts.shared_hits += 1,
            Ended::Stale(reason) => count(&mut counts.stale, reason),
            Ended::Collapsed => counts.collapsed += 1,
            Ended::Ran { not_stored } => {
                count(&mut counts.misses, no_hit);
                not_stored.into_iter().for_each(|reason| count(&mut counts.not_stored, reason));
            }
            Ended::Failed(reason) => count(&mut counts.failed, reason),
        }
    }

    /// Counts a request that was answered without asking the cache, for this reason.
    pub(crate) fn bypassed(&self, reason: &'static str) {
        count(&mut self.others.lock().bypassed, reason);
    }

    /// Counts a request that failed before the cache could be asked.
    pub(crate) fn failed(&self, reason: &'static str) {
        count(&mut self.others.lock().failed, reason);
    }

    /// Counts a lookup in the shared tier, by the reason for a miss if it was one.
    pub(crate) fn looked_up_shared(&self, miss: Option<&'static str>) {
        let counts = &mut *self.others.lock();
        match miss {
            None => counts.shared_lookup_hits += 1,
            Some(reason) => count(&mut counts.shared_lookup_misses, reason),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { hits: self.hits.0.load(Relaxed), ..self.others.lock().clone() }
    }

    /// The hits of the windows.
    #[must_use]
    pub fn shares(&self) -> Shares {
        self.windows.shares(self.counts().share())
    }

    /// The ages of recent hits, of which [one in 64](HITS_A_SAMPLE) was sampled.
    #[must_use]
    pub fn ages(&self) -> Ages {
        self.sampled.lock().ages.clone()
    }

    /// The `most` keys with the most hits, beginning with the hottest.
    #[must_use]
    pub fn hottest(&self, most: usize) -> Vec<HotKey> {
        let (top, sampled) = {
            let sampled = self.sampled.lock();
            (sampled.hottest.top(most), sampled.hottest.seen().max(1))
        };
        let hits = self.hits.0.load(Relaxed);
        // Those that were not sampled are like those that were.
        let scaled =
            |samples: u64| (u128::from(samples) * u128::from(hits) / u128::from(sampled)) as u64;
        let hot =
            |hot: Hot| HotKey { key: hot.key, hits: scaled(hot.seen), over: scaled(hot.over) };
        top.into_iter().map(hot).collect()
    }

    /// Moves the windows on; to be called [every ten seconds](weir_cache::usage::windows::TURN).
    pub fn turn(&self) {
        self.windows.turn(self.counts().share());
    }
}

fn count(by_reason: &mut ByReason, reason: &'static str) {
    *by_reason.entry(reason).or_default() += 1;
}

fn sum(by_reason: &ByReason) -> u64 {
    by_reason.values().sum()
}

impl Counts {
    /// The requests that were answered with what the cache had, old or not, among those that it was asked
    /// for and that were answered.
    #[must_use]
    pub fn share(&self) -> Share {
        let hits = self.hits + self.shared_hits + sum(&self.stale);
        Share { hits, lookups: hits + self.collapsed + sum(&self.misses) }
    }

    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.share().lookups + sum(&self.bypassed) + sum(&self.failed)
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.hits += other.hits;
        self.shared_hits += other.shared_hits;
        self.collapsed += other.collapsed;
        self.shared_lookup_hits += other.shared_lookup_hits;
        for (to, more) in [
            (&mut self.stale, &other.stale),
            (&mut self.misses, &other.misses),
            (&mut self.not_stored, &other.not_stored),
            (&mut self.bypassed, &other.bypassed),
            (&mut self.failed, &other.failed),
            (&mut self.memory_misses, &other.memory_misses),
            (&mut self.shared_lookup_misses, &other.shared_lookup_misses),
        ] {
            usage::add(to, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> CacheKey {
        CacheKey::from_bytes([number; 32])
    }

    #[test]
    fn a_request_is_counted_once() {
        let tally = Tally::default();
        tally.hit(&key(1), Duration::ZERO);
        for ended in [
            Ended::SharedHit,
            Ended::Stale("stale-if-error"),
            Ended::Collapsed,
            Ended::Ran { not_stored: None },
            Ended::Ran { not_stored: Some("policy") },
            Ended::Failed("trapped"),
        ] {
            tally.missed("absent", ended);
        }
        tally.bypassed("writes");
        tally.failed("no-slot");
        tally.looked_up_shared(None);
        tally.looked_up_shared(Some("absent"));
        let counts = tally.counts();
        let expected = Counts {
            hits: 1,
            shared_hits: 1,
            stale: ByReason::from([("stale-if-error", 1)]),
            collapsed: 1,
            misses: ByReason::from([("absent", 2)]),
            not_stored: ByReason::from([("policy", 1)]),
            bypassed: ByReason::from([("writes", 1)]),
            failed: ByReason::from([("no-slot", 1), ("trapped", 1)]),
            memory_misses: ByReason::from([("absent", 5)]),
            shared_lookup_hits: 1,
            shared_lookup_misses: ByReason::from([("absent", 1)]),
        };
        assert_eq!(counts, expected);
        assert_eq!((counts.requests(), counts.share()), (9, Share { hits: 3, lookups: 6 }));
        let mut twice = counts.clone();
        twice += &counts;
        assert_eq!((twice.requests(), twice.misses["absent"]), (18, 4));
        assert_eq!(tally.shares().last_minute, counts.share());
        (0..8).for_each(|_| tally.turn());
        assert_eq!(tally.shares().last_minute, Share::default());
        assert_eq!(tally.shares().last_hour, counts.share());
    }

    /// Whatever the order in which keys are asked for, as many hits of each are sampled as it has.
    #[test]
    fn a_sample_is_like_the_whole() {
        for period in [1_u8, 2, 3, 7, 32, 64, 100] {
            let tally = Tally::default();
            let hits = 64 * 200 * u64::from(period);
            for number in 0..hits {
                tally.hit(&key((number % u64::from(period)) as u8), Duration::from_secs(1));
            }
            let hottest = tally.hottest(usize::MAX);
            assert_eq!(hottest.len(), usize::from(period));
            let each = hits as f64 / f64::from(period);
            for hot in hottest {
                let error = hot.hits as f64 / each - 1.0;
                assert!(hot.over == 0 && error.abs() < 0.1, "{period}: {hot:?} of {each}");
            }
            assert_eq!(tally.ages().percentile_ms(50), Some(1_000));
        }
    }

    #[test]
    fn the_first_hit_is_sampled() {
        let tally = Tally::default();
        assert_eq!(tally.hottest(10), []);
        (0..3).for_each(|_| tally.hit(&key(1), Duration::ZERO));
        assert_eq!(tally.hottest(10), [HotKey { key: key(1), hits: 3, over: 0 }]);
    }
}
