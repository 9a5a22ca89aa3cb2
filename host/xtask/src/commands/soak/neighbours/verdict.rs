//! The arithmetic of the experiment: whether what the good client saw during an attack is within the
//! bounds.

use super::good_client::{Kind, Seen};
use crate::commands::soak::experiment::afterwards::Afterwards;
use crate::traffic::times::quantile;
use crate::watch::Peak;

/// The 99th percentile of hits may be so many times that next to the honest neighbour.
pub(super) const HITS_RATIO: f64 = 2.0;
/// The same for misses.
pub(super) const MISSES_RATIO: f64 = 3.0;

/// What was measured in one phase.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) seen: Seen,
    pub(super) peak: Peak,
    pub(super) after: Afterwards,
    /// What the attack got.
    pub(super) got: String,
}

impl Phase {
    /// Errors of the good client.
    pub(super) fn errors(&self) -> u64 {
        let Seen { hits, misses, writes } = &self.seen;
        [hits, misses, writes].into_iter().map(|kind| kind.errors.total()).sum()
    }

    /// What is not within the bounds, in words. A phase without a neighbour to compare it with, such
    /// as that of the honest neighbour itself, is not compared.
    pub(super) fn violations(&self, honest: Option<&Self>, budget_mib: u64) -> Vec<String> {
        let mut violations = Vec::new();
        if let Some(honest) = honest {
            let kinds = [
                ("hits", &self.seen.hits, &honest.seen.hits, HITS_RATIO),
                ("misses", &self.seen.misses, &honest.seen.misses, MISSES_RATIO),
            ];
            for (name, kind, honest, most) in kinds {
                let ratio = ratio(kind, honest);
                // Also if there is no ratio, because nothing was answered.
                if !ratio.is_some_and(|ratio| ratio <= most) {
                    let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
                    violations.push(format!("p99 of {name} is {ratio} times the honest one"));
                }
            }
        }
        if self.errors() > 0 {
            violations.push(format!("{} errors", self.errors()));
        }
        if self.peak.memory_mib > budget_mib {
            violations.push(format!("{} MiB of memory", self.peak.memory_mib));
        }
        violations.extend(self.after.left_behind());
        violations
    }
}

/// How many times the 99th percentile of another one is. Nothing if one of them has no answers.
pub(super) fn ratio(kind: &Kind, other: &Kind) -> Option<f64> {
    let time = quantile(&kind.times, 0.99)?;
    let other = quantile(&other.times, 0.99)?;
    Some(time.as_secs_f64() / other.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::watch::Handles;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn kind(time: u64) -> Kind {
        Kind { times: vec![ms(time)], ..Kind::default() }
    }

    fn phase(hits: u64, misses: u64) -> Phase {
        let handles = Handles { sockets: 3, others: 20 };
        Phase {
            name: "a",
            seen: Seen { hits: kind(hits), misses: kind(misses), writes: kind(1) },
            peak: Peak { memory_mib: 100, threads: 1, sockets: 3 },
            after: Afterwards {
                handles: [handles, handles],
                quiet_after: Some(ms(500)),
                no_slot: None,
            },
            got: String::new(),
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let honest = phase(10, 100);
        for (hits, misses, expected) in [
            (20, 300, vec![]),
            (21, 300, vec!["p99 of hits is 2.10 times the honest one"]),
            (20, 310, vec!["p99 of misses is 3.10 times the honest one"]),
            (1, 1, vec![]),
        ] {
            assert_eq!(phase(hits, misses).violations(Some(&honest), 100), expected);
        }
        // Nothing to compare with.
        assert!(phase(1_000, 1_000).violations(None, 100).is_empty());
    }

    #[test]
    fn everything_else_is_noticed() {
        let change = |change: fn(&mut Phase)| {
            let mut changed = phase(10, 100);
            change(&mut changed);
            changed.violations(Some(&phase(10, 100)), 100)
        };
        assert_eq!(change(|phase| phase.peak.memory_mib = 101), ["101 MiB of memory"]);
        assert_eq!(change(|phase| phase.seen.writes.errors.add("timed out")), ["1 errors"]);
        assert_eq!(change(|phase| phase.after.quiet_after = None), ["not quiet again"]);
    }

    #[test]
    fn without_answers_there_is_no_ratio_and_no_success() {
        let mut silent = phase(10, 100);
        silent.seen.hits.times.clear();
        let violations = silent.violations(Some(&phase(10, 100)), 100);
        assert_eq!(violations, ["p99 of hits is – times the honest one"]);
    }
}
