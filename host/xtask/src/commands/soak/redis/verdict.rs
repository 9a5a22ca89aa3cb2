//! Whether what was measured is within the bounds.

use std::time::Duration;

use super::phase::Phase;
use crate::commands::soak::experiment::bound::Bound;
use crate::traffic::times::quantile;

/// The 99th percentile of hits with trouble may be so many times that without. It would be 1, but for what
/// varies from phase to phase.
const HITS_RATIO: f64 = 1.3;
/// The least part of the lookups that work while there is no trouble.
const WORKING: f64 = 0.9;

/// The times of hits in all phases with trouble, or in all without; in ascending order.
pub(super) fn hits(phases: &[Phase], with_trouble: bool) -> Vec<Duration> {
    let chosen = phases.iter().filter(|phase| phase.trouble.is_some() == with_trouble);
    let mut times: Vec<_> = chosen.flat_map(|phase| phase.hits.answered.iter().copied()).collect();
    times.sort_unstable();
    times
}

pub(super) fn bounds(phases: &[Phase]) -> Vec<Bound> {
    let [with, without] = [true, false].map(|with| quantile(&hits(phases, with), 0.99));
    let ratio = with.zip(without).map(|(with, without)| with.as_secs_f64() / without.as_secs_f64());
    let others = phases.iter().map(|Phase { hits, new, .. }| {
        hits.failed + hits.not_hits + new.failed + (hits.refused.len() + new.refused.len()) as u64
    });
    let others: u64 = others.sum();
    let as_named = phases.iter().filter(|phase| is_as_named(phase)).count();
    vec![
        Bound {
            name: "p99 of hits",
            most: format!("at most {HITS_RATIO} times that without trouble"),
            measured: ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            // Not if there is no ratio, because nothing was answered.
            holds: ratio.is_some_and(|ratio| ratio <= HITS_RATIO),
        },
        Bound {
            name: "other ends",
            most: "none: hits come from memory, and new questions are answered".to_owned(),
            measured: others.to_string(),
            holds: others == 0,
        },
        Bound {
            name: "phases that were what they are called",
            most: "all: lookups in Redis fail during each trouble, and work otherwise".to_owned(),
            measured: format!("{as_named} of {}", phases.len()),
            holds: as_named == phases.len(),
        },
    ]
}

/// Whether most lookups failed while there was trouble, or worked otherwise.
fn is_as_named(phase: &Phase) -> bool {
    let (all, failed) = (phase.lookups.all as f64, phase.lookups.failed as f64);
    let share = if phase.trouble.is_some() { failed / all } else { 1.0 - failed / all };
    // Not if there were none.
    share >= WORKING
}

#[cfg(test)]
pub(super) mod tests {
    use weir_test_redis::Fault;

    use super::*;
    use crate::commands::soak::experiment::load::Seen;
    use crate::commands::soak::redis::phase::Lookups;
    use crate::commands::soak::redis::trouble::Trouble;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn phase(trouble: Option<Trouble>, hits: u64, failed: u64) -> Phase {
        let seen = |time| Seen { answered: vec![ms(time)], ..Seen::default() };
        Phase { trouble, hits: seen(hits), new: seen(20), lookups: Lookups { all: 100, failed } }
    }

    /// Within all bounds, and close to each of them.
    pub(in crate::commands::soak::redis) fn measured() -> Vec<Phase> {
        vec![
            phase(None, 10, 10),
            phase(Some(Trouble::Stopped), 12, 90),
            phase(None, 9, 0),
            phase(Some(Trouble::Network(Fault::Cut)), 13, 100),
        ]
    }

    fn broken(change: fn(&mut [Phase])) -> Vec<&'static str> {
        let mut measured = measured();
        change(&mut measured);
        let bounds = bounds(&measured).into_iter();
        bounds.filter(|bound| !bound.holds).map(|bound| bound.name).collect()
    }

    #[test]
    fn each_bound_is_looked_at() {
        const AS_NAMED: &str = "phases that were what they are called";
        assert!(broken(|_| {}).is_empty());
        assert_eq!(broken(|phases| phases[3].hits.answered = vec![ms(14)]), ["p99 of hits"]);
        assert_eq!(broken(|phases| phases[1].hits.not_hits = 1), ["other ends"]);
        assert_eq!(broken(|phases| phases[2].new.refused = vec![ms(1)]), ["other ends"]);
        assert_eq!(broken(|phases| phases[0].new.failed = 1), ["other ends"]);
        assert_eq!(broken(|phases| phases[0].lookups.failed = 11), [AS_NAMED]);
        assert_eq!(broken(|phases| phases[1].lookups.failed = 89), [AS_NAMED]);
        assert_eq!(broken(|phases| phases[1].lookups = Lookups::default()), [AS_NAMED]);
    }

    #[test]
    fn without_times_the_ratio_does_not_hold() {
        let without = |phases: &mut [Phase]| {
            for phase in phases {
                phase.hits.answered.clear();
            }
        };
        assert_eq!(broken(without), ["p99 of hits"]);
    }
}
