//! The arithmetic of `bench --against`: ratios within rounds, what chance does, and the verdict.

use super::measure::Measure;
use super::statistics::{Spread, median};

/// The CPU time that this revision may use relative to the other, in addition to chance.
const BOUND: f64 = 1.05;
/// Two equal servers that differ by more: the machine was too busy for any verdict.
const NOISY: f64 = 1.05;

/// One case in one round.
pub(super) struct Round {
    /// This revision's server.
    pub(super) new: Measure,
    /// A second one of the same.
    pub(super) again: Measure,
    /// The other revision's.
    pub(super) other: Measure,
}

/// A case over all rounds.
pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) rounds: Vec<Round>,
}

impl Comparison {
    /// This revision's CPU time an answer, the mean of its two servers, by the other's.
    fn new_by_other(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| {
            f64::midpoint(round.new.process_us, round.again.process_us) / round.other.process_us
        }))
    }

    /// The same by the same: 1 but for chance.
    fn same_by_same(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.new.process_us / round.again.process_us))
    }

    /// The most that the ratio may be.
    fn bound(&self) -> f64 {
        BOUND * widening(self.same_by_same().median)
    }

    /// False also where nothing was measured.
    fn is_within(&self) -> bool {
        self.new_by_other().median <= self.bound()
    }

    fn is_noisy(&self) -> bool {
        widening(self.same_by_same().median) > NOISY
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }
}

/// How far a ratio of equal things is from 1, in either direction.
fn widening(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

/// Prints the table and says whether every case is within its bound.
pub(super) fn print(comparisons: &[Comparison], other: &str) -> bool {
    println!("| answer | requests/s, this | {other} | CPU µs an answer, this | {other} |");
    println!("|---|---:|---:|---:|---:|");
    for case in comparisons {
        println!(
            "| {} | {:.0} | {:.0} | {:.1} | {:.1} |",
            case.name,
            case.median(|r| f64::midpoint(r.new.answers_per_second, r.again.answers_per_second)),
            case.median(|r| r.other.answers_per_second),
            case.median(|r| f64::midpoint(r.new.process_us, r.again.process_us)),
            case.median(|r| r.other.process_us),
        );
    }
    println!();
    println!(
        "| CPU time, ratio | this ÷ {other} | half of the rounds | this ÷ this | half of the rounds | at most | |"
    );
    println!("|---|---:|---:|---:|---:|---:|---|");
    for case in comparisons {
        let (new, same) = (case.new_by_other(), case.same_by_same());
        println!(
            "| {} | {:.3} | {:.3} to {:.3} | {:.3} | {:.3} to {:.3} | {:.3} | {} |",
            case.name,
            new.median,
            new.low,
            new.high,
            same.median,
            same.low,
            same.high,
            case.bound(),
            if case.is_within() { "within" } else { "OVER" },
        );
    }
    if comparisons.iter().any(Comparison::is_noisy) {
        println!(
            "Two equal servers differ by more than {:.0} %: something else was running. Measure \
             again on an idle machine, or with more --rounds.",
            (NOISY - 1.0) * 100.0
        );
    }
    comparisons.iter().all(Comparison::is_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(process_us: f64) -> Measure {
        Measure { answers_per_second: 1.0, machine_us: 0.0, process_us }
    }

    fn comparison(rounds: &[(f64, f64, f64)]) -> Comparison {
        let round = |&(new, again, other): &(f64, f64, f64)| Round {
            new: measure(new),
            again: measure(again),
            other: measure(other),
        };
        Comparison { name: "case", rounds: rounds.iter().map(round).collect() }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine slows down by half in the second round, for all.
        let case = comparison(&[(11.0, 11.0, 10.0), (22.0, 22.0, 20.0), (11.0, 11.0, 10.0)]);
        assert!((case.new_by_other().median - 1.1).abs() < 1e-9);
        assert!((case.same_by_same().median - 1.0).abs() < 1e-9);
        assert!(!case.is_within());
    }

    #[test]
    fn chance_widens_the_bound_in_either_direction() {
        for (new, again) in [(10.0, 12.0), (12.0, 10.0)] {
            let case = comparison(&[(new, again, 10.0)]);
            assert!((case.bound() - 1.05 * 1.2).abs() < 1e-9);
            assert!(case.is_within() && case.is_noisy());
        }
    }

    #[test]
    fn nothing_measured_is_not_within() {
        assert!(!print(&[comparison(&[])], "HEAD"));
        assert!(print(&[comparison(&[(10.4, 10.4, 10.0)])], "HEAD"));
    }
}
