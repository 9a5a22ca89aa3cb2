//! What became of operations while a replay runs: how they ended, where answers came from, and times.

use std::time::Duration;

use anyhow::Result;
use reqwest::StatusCode;

use super::line::Kind;
use super::tiers::Tiers;
use super::times::Times;
use crate::traffic::cache_status::CacheStatus;
use crate::traffic::outcome::{Counts, Outcome};

/// An operation that has ended.
pub(super) struct Ended {
    pub(super) kind: Kind,
    /// How much later than it was due it was begun.
    pub(super) late: Duration,
    /// How long it took from when it was due.
    pub(super) time: Duration,
    pub(super) outcome: Outcome,
}

/// What became of all operations so far.
#[derive(Default)]
pub(super) struct Tally {
    /// How operations ended, by [`Kind`].
    pub(super) ends: [Counts; 3],
    /// The ends that should not be.
    pub(super) failures: Counts,
    pub(super) tiers: Tiers,
    pub(super) late: Times,
    pub(super) hits: Times,
    pub(super) collapsed: Times,
    /// Of answers that were computed, also past the cache.
    pub(super) misses: Times,
    /// Of writes that were acknowledged.
    pub(super) writes: Times,
}

impl Tally {
    pub(super) fn add(&mut self, ended: &Ended) -> Result<()> {
        let Ended { kind, late, time, outcome } = ended;
        self.late.add(*late)?;
        self.ends[*kind as usize].add(outcome.label.as_str());
        if !is_right(*kind, outcome) {
            self.failures.add(format!("{kind}: {}", outcome.label));
            return Ok(());
        }
        if *kind != Kind::Query {
            return self.writes.add(*time);
        }
        if !self.tiers.add(outcome.cache) {
            self.failures.add("query: 200 without a Cache-Status that is known");
            return Ok(());
        }
        let times = match outcome.cache {
            CacheStatus::Collapsed => &mut self.collapsed,
            cache if cache.is_hit() => &mut self.hits,
            _ => &mut self.misses,
        };
        times.add(*time)
    }
}

/// Whether a query was answered, or a write acknowledged. A trace can delete a document twice.
fn is_right(kind: Kind, outcome: &Outcome) -> bool {
    match (kind, outcome.status) {
        (_, Some(StatusCode::OK)) => true,
        (Kind::Put | Kind::Delete, Some(StatusCode::ACCEPTED)) => true,
        (Kind::Delete, Some(StatusCode::NOT_FOUND)) => outcome.label == "404 unknown-document",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn tally(ended: &[(Kind, u16, &str, CacheStatus)]) -> Tally {
        let mut tally = Tally::default();
        for (kind, status, label, cache) in ended {
            let status = StatusCode::from_u16(*status).ok();
            let outcome = Outcome { status, label: (*label).to_owned(), cache: *cache };
            let [late, time] = [1, 2].map(Duration::from_millis);
            tally.add(&Ended { kind: *kind, late, time, outcome }).unwrap();
        }
        tally
    }

    #[test]
    fn each_end_is_counted_once_and_only_answers_have_a_time() {
        use CacheStatus::*;
        let tally = tally(&[
            (Kind::Query, 200, "200", Memory),
            (Kind::Query, 200, "200", Shared),
            (Kind::Query, 200, "200", Collapsed),
            (Kind::Query, 200, "200", Miss),
            (Kind::Query, 200, "200", Bypass),
            (Kind::Query, 503, "503 overloaded", Absent),
            (Kind::Put, 200, "200", Absent),
            (Kind::Delete, 200, "200", Absent),
        ]);
        assert_eq!(tally.ends.each_ref().map(Counts::total), [6, 1, 1]);
        assert_eq!(tally.late.quantiles().unwrap().count, 8);
        let times = [&tally.hits, &tally.collapsed, &tally.misses, &tally.writes];
        assert_eq!(times.map(|times| times.quantiles().unwrap().count), [2, 1, 2, 2]);
        assert_eq!(tally.failures.to_string(), "1 × query: 503 overloaded");
    }

    #[test]
    fn queries_must_be_answered_and_writes_acknowledged() {
        use CacheStatus::{Absent, Failure, Memory};
        for (kind, status, label, cache, is_right) in [
            (Kind::Query, 200, "200", Memory, true),
            (Kind::Query, 200, "200", Absent, false),
            (Kind::Query, 404, "404 unknown-document", Absent, false),
            (Kind::Query, 503, "503 overloaded", Failure, false),
            (Kind::Query, 0, "timed out", Absent, false),
            (Kind::Put, 202, "202", Absent, true),
            (Kind::Put, 404, "404 unknown-collection", Absent, false),
            (Kind::Put, 503, "503 backlog-full", Absent, false),
            (Kind::Delete, 404, "404 unknown-document", Absent, true),
            (Kind::Delete, 404, "404 unknown-collection", Absent, false),
            (Kind::Delete, 0, "timed out", Absent, false),
        ] {
            let failures = tally(&[(kind, status, label, cache)]).failures.total();
            assert_eq!(failures == 0, is_right, "{kind} {label}");
        }
    }
}
