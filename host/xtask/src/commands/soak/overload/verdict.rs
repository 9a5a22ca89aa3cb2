//! The arithmetic of the experiment: the peak, and whether what happened under overload is within the
//! bounds.

use std::time::Duration;

use super::phase::Phase;
use crate::commands::soak::experiment::bound::Bound;
use crate::commands::soak::experiment::load::Seen;
use crate::traffic::times::{milliseconds, quantile};

/// The least share of the peak that must be answered.
const GOODPUT: f64 = 0.8;
/// The 99th percentile of answers may be so many times that at the peak.
const ANSWERS_RATIO: f64 = 2.0;
/// The same for hits.
const HITS_RATIO: f64 = 2.0;
/// The 99th percentile of refusals must be below this.
const REFUSALS: Duration = Duration::from_millis(10);

/// All phases.
pub(super) struct Measured {
    pub(super) alone: Phase,
    pub(super) closed: [Phase; 2],
    pub(super) open: Phase,
}

/// The closed loop that was answered most.
pub(super) fn peak([few, many]: &[Phase; 2]) -> &Phase {
    if many.goodput() > few.goodput() { many } else { few }
}

impl Measured {
    /// All phases in the order in which they were.
    pub(super) fn phases(&self) -> impl Iterator<Item = &Phase> {
        [&self.alone].into_iter().chain(&self.closed).chain([&self.open])
    }

    pub(super) fn bounds(&self) -> Vec<Bound> {
        let peak = peak(&self.closed);
        let nothing = Seen::default();
        let of = |phase: &Phase| phase.seen.clone().unwrap_or_default();
        let (at_peak, open) = (of(peak), of(&self.open));
        let share = self.open.goodput() / peak.goodput();
        let refused = p99(&open.refused);
        let failed = |hits: &Seen, seen: &Seen| {
            hits.failed + hits.not_hits + hits.refused.len() as u64 + seen.failed
        };
        let failed = self
            .phases()
            .map(|phase| failed(&phase.hits, phase.seen.as_ref().unwrap_or(&nothing)))
            .sum::<u64>();
        vec![
            Bound {
                name: "goodput",
                most: format!("at least {GOODPUT} of the peak"),
                measured: format!("{share:.2}"),
                holds: share >= GOODPUT,
            },
            ratio("p99 of answers", ANSWERS_RATIO, &open.answered, &at_peak.answered),
            Bound {
                name: "p99 of refusals",
                most: format!("below {} ms", REFUSALS.as_millis()),
                measured: format!("{} ms", milliseconds(refused)),
                // Also if nothing was refused, which cannot be right.
                holds: refused.is_some_and(|time| time < REFUSALS),
            },
            ratio("p99 of hits", HITS_RATIO, &self.open.hits.answered, &peak.hits.answered),
            Bound {
                name: "other ends",
                most: "none: questions are answered or refused, hits answered from the cache"
                    .to_owned(),
                measured: failed.to_string(),
                holds: failed == 0,
            },
        ]
    }
}

/// The bound on a 99th percentile as a multiple of that at the peak.
fn ratio(name: &'static str, most: f64, times: &[Duration], at_peak: &[Duration]) -> Bound {
    let ratio = p99(times)
        .zip(p99(at_peak))
        .map(|(time, at_peak)| time.as_secs_f64() / at_peak.as_secs_f64());
    Bound {
        name,
        most: format!("at most {most} times that at the peak"),
        measured: ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
        // Not if there is no ratio, because nothing was answered.
        holds: ratio.is_some_and(|ratio| ratio <= most),
    }
}

fn p99(times: &[Duration]) -> Option<Duration> {
    quantile(times, 0.99)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commands::soak::overload::phase::Load;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn phase(load: Load, hits: u64, seen: Option<(u64, u64, u64)>) -> Phase {
        let seen = seen.map(|(arrived, answered, refused)| Seen {
            arrived,
            answered: vec![ms(answered)],
            refused: vec![ms(refused)],
            ..Seen::default()
        });
        let hits = Seen { answered: vec![ms(hits)], ..Seen::default() };
        Phase { load, measured: Duration::from_secs(2), hits, seen }
    }

    /// Within all bounds, and close to each of them.
    pub(in crate::commands::soak::overload) fn measured() -> Measured {
        Measured {
            alone: phase(Load::None, 1, None),
            closed: [
                phase(Load::Closed { clients: 16 }, 2, Some((200, 50, 0))),
                phase(Load::Closed { clients: 32 }, 1, Some((190, 10, 0))),
            ],
            open: phase(Load::Open { per_second: 500 }, 4, Some((160, 100, 9))),
        }
    }

    fn broken(change: fn(&mut Phase, &mut Seen)) -> Vec<&'static str> {
        let mut measured = measured();
        let mut seen = measured.open.seen.take().unwrap_or_default();
        change(&mut measured.open, &mut seen);
        measured.open.seen = Some(seen);
        let bounds = measured.bounds().into_iter();
        bounds.filter(|bound| !bound.holds).map(|bound| bound.name).collect()
    }

    #[test]
    fn each_bound_is_compared_with_the_peak() {
        assert!(broken(|_, _| {}).is_empty());
        assert_eq!(broken(|_, seen| seen.arrived = 159), ["goodput"]);
        assert_eq!(broken(|_, seen| seen.answered = vec![ms(101)]), ["p99 of answers"]);
        assert_eq!(broken(|_, seen| seen.refused = vec![ms(10)]), ["p99 of refusals"]);
        assert_eq!(broken(|open, _| open.hits.answered = vec![ms(5)]), ["p99 of hits"]);
        assert_eq!(broken(|_, seen| seen.failed = 1), ["other ends"]);
        assert_eq!(broken(|open, _| open.hits.refused = vec![ms(1)]), ["other ends"]);
        assert_eq!(broken(|open, _| open.hits.not_hits = 1), ["other ends"]);
    }

    #[test]
    fn without_times_a_bound_does_not_hold() {
        assert_eq!(broken(|_, seen| seen.answered.clear()), ["p99 of answers"]);
        assert_eq!(broken(|_, seen| seen.refused.clear()), ["p99 of refusals"]);
    }
}
