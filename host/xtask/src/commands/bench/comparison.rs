//! The arithmetic of `bench --against`: ratios within rounds, what chance does, and the verdict.

use super::measure::Measure;
use super::statistics::{Spread, median};

/// The CPU time that this revision may use relative to the other, in addition to chance.
const BOUND: f64 = 1.05;
/// If equal pairs differ by more, the run says little.
const NOISY: f64 = 1.05;

/// One case in one round: two servers of each revision.
pub(super) struct Round {
    /// This checkout's.
    pub(super) new: [Measure; 2],
    /// The other revision's.
    pub(super) other: [Measure; 2],
}

impl Round {
    /// This checkout's CPU time for an answer, divided by the other revision's.
    fn new_by_other(&self) -> f64 {
        mean_us(&self.new) / mean_us(&self.other)
    }

    /// The same ratio between two pairs with one server of each revision: 1 apart from chance.
    fn pair_by_pair(&self) -> f64 {
        let pair = |place: usize| self.new[place].process_us + self.other[place].process_us;
        pair(0) / pair(1)
    }
}

fn mean_us(servers: &[Measure; 2]) -> f64 {
    f64::midpoint(servers[0].process_us, servers[1].process_us)
}

fn mean_per_second(servers: &[Measure; 2]) -> f64 {
    f64::midpoint(servers[0].answers_per_second, servers[1].answers_per_second)
}

/// A case over all rounds.
pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) rounds: Vec<Round>,
}

impl Comparison {
    fn new_by_other(&self) -> Spread {
        Spread::of(self.rounds.iter().map(Round::new_by_other))
    }

    fn pair_by_pair(&self) -> Spread {
        Spread::of(self.rounds.iter().map(Round::pair_by_pair))
    }

    /// The most that the ratio may be.
    fn bound(&self) -> f64 {
        BOUND * widening(self.pair_by_pair().median)
    }

    /// Also false if nothing was measured.
    fn is_within(&self) -> bool {
        self.new_by_other().median <= self.bound()
    }

    fn is_noisy(&self) -> bool {
        widening(self.pair_by_pair().median) > NOISY
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
    println!("| answer | requests/s, this | {other} | CPU µs per answer, this | {other} |");
    println!("|---|---:|---:|---:|---:|");
    for case in comparisons {
        println!(
            "| {} | {:.0} | {:.0} | {:.1} | {:.1} |",
            case.name,
            case.median(|round| mean_per_second(&round.new)),
            case.median(|round| mean_per_second(&round.other)),
            case.median(|round| mean_us(&round.new)),
            case.median(|round| mean_us(&round.other)),
        );
    }
    println!();
    println!(
        "| CPU time, ratio | this ÷ {other} | half of the rounds | equal pairs | half of the rounds | at most | |"
    );
    println!("|---|---:|---:|---:|---:|---:|---|");
    for case in comparisons {
        let (new, same) = (case.new_by_other(), case.pair_by_pair());
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
            "Equal pairs of servers differ by more than {:.0} %. Measure again on an idle machine, \
             or with more --starts.",
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

    /// Rounds of `[new, new again, other, other again]`.
    fn comparison(rounds: &[[f64; 4]]) -> Comparison {
        let round = |&[new, new_again, other, other_again]: &[f64; 4]| Round {
            new: [measure(new), measure(new_again)],
            other: [measure(other), measure(other_again)],
        };
        Comparison { name: "case", rounds: rounds.iter().map(round).collect() }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine slows down by half in the second round, for all.
        let case = comparison(&[
            [11.0, 11.0, 10.0, 10.0],
            [22.0, 22.0, 20.0, 20.0],
            [11.0, 11.0, 10.0, 10.0],
        ]);
        assert!((case.new_by_other().median - 1.1).abs() < 1e-9);
        assert!((case.pair_by_pair().median - 1.0).abs() < 1e-9);
        assert!(!case.is_within());
    }

    #[test]
    fn chance_widens_the_bound_in_either_direction() {
        for (first, second) in [(10.0, 12.0), (12.0, 10.0)] {
            let case = comparison(&[[first, second, first, second]]);
            assert!((case.bound() - 1.05 * 1.2).abs() < 1e-9);
            assert!(case.is_within() && case.is_noisy());
        }
    }

    #[test]
    fn what_this_revision_adds_does_not_widen_the_bound() {
        let case = comparison(&[[12.0, 12.0, 10.0, 10.0]]);
        assert!((case.bound() - 1.05).abs() < 1e-9);
        assert!(!case.is_within() && !case.is_noisy());
    }

    #[test]
    fn nothing_measured_is_not_within() {
        assert!(!print(&[comparison(&[])], "HEAD"));
        assert!(print(&[comparison(&[[10.4, 10.4, 10.0, 10.0]])], "HEAD"));
    }
}
