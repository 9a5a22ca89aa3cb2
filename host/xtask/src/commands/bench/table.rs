//! The figures of a benchmark: what one run gave, medians over rounds, and the table.

use super::machine::Spent;
use crate::commands::bench_load::Counted;

/// What one run of the load generator gave.
pub(super) struct Measure {
    pub(super) answers_per_second: f64,
    /// CPU time an answer: all of the machine's but the load generator's.
    pub(super) machine_us: f64,
    /// CPU time an answer: the server process's own, to check the other by.
    pub(super) process_us: f64,
    /// Every answer came from the cache.
    pub(super) all_hits: bool,
}

impl Measure {
    pub(super) fn new(counted: &Counted, spent: &Spent) -> Self {
        let answers = counted.answers.max(1) as f64;
        Self {
            answers_per_second: answers / counted.seconds,
            machine_us: spent.machine.as_secs_f64() * 1e6 / answers,
            process_us: spent.process.as_secs_f64() * 1e6 / answers,
            all_hits: counted.hits == counted.answers,
        }
    }
}

/// A way of answering, measured beside the plain server.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// What an answer may cost over the plain server's.
    bound_us: f64,
    /// Weir's measure and the plain server's, in each round.
    pub(super) rounds: Vec<(Measure, Measure)>,
}

impl Case {
    pub(super) fn new(name: &'static str, path: &'static str, bound_us: f64) -> Self {
        Self { name, path, bound_us, rounds: Vec::new() }
    }

    fn median(&self, figure: impl Fn(&Measure, &Measure) -> f64) -> f64 {
        median(self.rounds.iter().map(|(weir, plain)| figure(weir, plain)).collect())
    }

    fn over_us(&self) -> f64 {
        self.median(|weir, plain| weir.machine_us - plain.machine_us)
    }
}

/// Prints the table and says whether every case is within its bound.
pub(super) fn print(cases: &[Case]) -> bool {
    println!("| answer | requests/s | CPU µs an answer | of it the server's process |");
    println!("|---|---:|---:|---:|");
    for case in cases {
        println!(
            "| {} | {:.0} | {:.1} | {:.1} |",
            case.name,
            case.median(|weir, _| weir.answers_per_second),
            case.median(|weir, _| weir.machine_us),
            case.median(|weir, _| weir.process_us),
        );
        println!(
            "| the same by plain axum | {:.0} | {:.1} | {:.1} |",
            case.median(|_, plain| plain.answers_per_second),
            case.median(|_, plain| plain.machine_us),
            case.median(|_, plain| plain.process_us),
        );
    }
    for case in cases {
        println!(
            "{}: {:+.1} µs of CPU over plain axum (at most {:.0}), {:.2} of its requests/s",
            case.name,
            case.over_us(),
            case.bound_us,
            case.median(|weir, plain| weir.answers_per_second / plain.answers_per_second),
        );
    }
    cases.iter().all(|case| case.over_us() <= case.bound_us)
}

/// The middle value, or the mean of the two in the middle; not a number for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(machine_us: f64) -> Measure {
        Measure { answers_per_second: 1.0, machine_us, process_us: machine_us, all_hits: true }
    }

    #[test]
    fn medians_by_hand() {
        for (values, expected) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert_eq!(median(values).to_bits(), f64::to_bits(expected));
        }
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn differences_are_taken_within_a_round() {
        let mut case = Case::new("case", "/", 3.0);
        // The machine slows down: both do. Medians apart would differ by 3.
        for (weir, plain) in [(12.0, 10.0), (22.0, 20.0), (26.0, 24.0), (14.0, 4.0)] {
            case.rounds.push((measure(weir), measure(plain)));
        }
        assert_eq!(case.over_us().to_bits(), 2.0_f64.to_bits());
        assert!(print(&[case]));
    }

    #[test]
    fn no_rounds_are_not_within_the_bound() {
        assert!(!print(&[Case::new("case", "/", 3.0)]));
    }
}
