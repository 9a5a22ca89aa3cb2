//! `cargo xtask bench` without `--against`: measures Weir, and for hits and echoes also a plain
//! `axum::serve` program (`plain`) that sends the same bytes.
//!
//! In each round, all cases run one after the other, so that other load of the machine affects all
//! of them. Figures are medians over rounds; differences and ratios are computed within each round
//! first.

use anyhow::{Context, Result, ensure};

use super::cases::{CASES, Case};
use super::measure::{Amount, Measure, measure};
use super::plain::Plain;
use super::prepare::prepare;
use super::side::{Side, target};
use super::statistics::median;
use super::{Timing, plain, sandbox, this_checkout};
use crate::machine;

const WARM_UP_SECONDS: f64 = 1.0;

/// A case with the measurements of each round: Weir's, and the plain server's if there is one.
struct Measured {
    case: &'static Case,
    rounds: Vec<(Measure, Option<Measure>)>,
}

/// Builds and measures, prints the figures, and fails if a case costs too much.
pub(super) async fn run(timing: Timing, no_bounds: bool) -> Result<()> {
    let (workspace, tools) = this_checkout()?;
    let side = Side::build(&workspace, &tools.embedding)?;
    plain::build(&workspace)?;
    machine::warn_if_busy()?;
    let folder = tempfile::tempdir().context("creating a folder for the servers")?;
    let server = side.start(&folder.path().join("weir")).await?;
    let weir = target(&server)?;
    eprintln!("Ingesting documents and filling the cache …");
    prepare(weir, timing.connections).await?;
    let plain = Plain::start(&workspace, folder.path(), weir).await?;
    println!("{}", machine::description()?);
    println!(
        "{} rounds of {} s per case, {} connections",
        timing.rounds, timing.seconds, timing.connections
    );
    let mut cases: Vec<Measured> =
        CASES.iter().map(|case| Measured { case, rounds: Vec::new() }).collect();
    for round in 0..=timing.rounds {
        let seconds = if round == 0 {
            eprintln!("Warming up …");
            WARM_UP_SECONDS
        } else {
            eprintln!("Round {round} of {} …", timing.rounds);
            timing.seconds
        };
        let amount = Amount::Seconds(seconds);
        for Measured { case, rounds } in &mut cases {
            let of_weir = measure(weir, case, timing.connections, amount).await?;
            let of_plain = match case.over_plain_us {
                // It repeats Weir's headers, so it counts as a hit or a miss like Weir's answer.
                Some(_) => Some(measure(plain.target, case, timing.connections, amount).await?),
                None => None,
            };
            if round > 0 {
                rounds.push((of_weir, of_plain));
            }
        }
    }
    server.stop().await?;
    let within = print(&cases);
    eprintln!("Measuring the cost of the sandbox …");
    sandbox::run(&workspace, &tools.embedding)?;
    ensure!(within || no_bounds, "an answer costs more CPU time than its bound allows");
    Ok(())
}

/// Prints the table, and returns whether every case is within its bound.
fn print(cases: &[Measured]) -> bool {
    println!("| answer | requests/s | CPU µs per answer | the server's own process |");
    println!("|---|---:|---:|---:|");
    for measured in cases {
        let of_weir = measured.rounds.iter().map(|(weir, _)| weir);
        print_row(measured.case.name, &of_weir.collect::<Vec<_>>());
        let of_plain = measured.rounds.iter().filter_map(|(_, plain)| plain.as_ref());
        if measured.case.over_plain_us.is_some() {
            print_row("the same from plain axum", &of_plain.collect::<Vec<_>>());
        }
    }
    let mut within = true;
    for measured in cases {
        let Some(bound_us) = measured.case.over_plain_us else { continue };
        let (over_us, rate) = (measured.over_plain_us(), measured.rate());
        println!(
            "{}: {over_us:+.1} µs of CPU compared with plain axum (bound: {bound_us:+.0}), \
             {rate:.2} times its requests/s",
            measured.case.name,
        );
        // Also false if nothing was measured, because comparisons with NaN are false.
        within &= over_us <= bound_us;
    }
    within
}

fn print_row(name: &str, measures: &[&Measure]) {
    let of = |figure: fn(&Measure) -> f64| median(measures.iter().map(|measure| figure(measure)));
    println!(
        "| {name} | {:.0} | {:.1} | {:.1} |",
        of(|measure| measure.answers_per_second),
        of(|measure| measure.machine_us),
        of(|measure| measure.process_us),
    );
}

impl Measured {
    fn pairs(&self) -> impl Iterator<Item = (&Measure, &Measure)> {
        self.rounds.iter().filter_map(|(weir, plain)| Some((weir, plain.as_ref()?)))
    }

    fn over_plain_us(&self) -> f64 {
        median(self.pairs().map(|(weir, plain)| weir.machine_us - plain.machine_us))
    }

    fn rate(&self) -> f64 {
        median(self.pairs().map(|(weir, plain)| weir.answers_per_second / plain.answers_per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::cases::HIT;

    static CASE: Case = HIT;

    fn measure(machine_us: f64) -> Measure {
        Measure { answers_per_second: 1.0, machine_us, process_us: machine_us }
    }

    #[test]
    fn differences_are_computed_within_a_round() {
        // The machine slows down both servers. The difference of their medians would be 3.
        let rounds = [(12.0, 10.0), (22.0, 20.0), (26.0, 24.0), (14.0, 4.0)];
        let rounds = rounds.map(|(weir, plain)| (measure(weir), Some(measure(plain))));
        let measured = Measured { case: &CASE, rounds: rounds.into() };
        assert_eq!(measured.over_plain_us().to_bits(), 2.0_f64.to_bits());
        assert!(print(&[measured]));
    }

    #[test]
    fn no_rounds_are_not_within_the_bound() {
        assert!(!print(&[Measured { case: &CASE, rounds: Vec::new() }]));
    }
}
