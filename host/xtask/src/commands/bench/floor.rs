//! `cargo xtask bench` alone: each case next to a plain `axum::serve` program (`plain`) that sends
//! the same bytes, where there is such a floor.
//!
//! All cases run one after the other in each round, so that what changes on the machine
//! in the meantime affects all of them; figures are medians over rounds, differences and ratios are
//! taken within a round first.

use anyhow::{Context, Result, ensure};

use super::cases::{CASES, Case};
use super::measure::{Amount, Measure, measure};
use super::plain::Plain;
use super::prepare::prepare;
use super::side::{Side, target};
use super::statistics::median;
use super::{Timing, machine, plain, sandbox, this_checkout};

const WARM_UP_SECONDS: f64 = 1.0;

/// A case with Weir's measure and the plain server's, if it has one, in each round.
struct Measured {
    case: &'static Case,
    rounds: Vec<(Measure, Option<Measure>)>,
}

/// Builds, measures, prints, and fails where a case costs too much.
pub(super) async fn run(timing: Timing, no_bounds: bool) -> Result<()> {
    let (workspace, tools) = this_checkout()?;
    let side = Side::build(&workspace, &tools.embedding)?;
    plain::build(&workspace)?;
    machine::warn_if_busy()?;
    let folder = tempfile::tempdir().context("making a folder for the servers")?;
    let server = side.start(&folder.path().join("weir")).await?;
    let weir = target(&server)?;
    eprintln!("Ingesting documents and filling the cache …");
    prepare(weir, timing.connections).await?;
    let plain = Plain::start(&workspace, folder.path(), weir).await?;
    println!("{}", machine::description()?);
    println!(
        "{} rounds of {} s a case, {} connections",
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
                // It says hit or miss as Weir did: the bytes are the same.
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
    eprintln!("The sandbox's price …");
    sandbox::run(&workspace, &tools.embedding)?;
    ensure!(within || no_bounds, "an answer costs more than it may");
    Ok(())
}

/// Prints the table and says whether every case is within its bound.
fn print(cases: &[Measured]) -> bool {
    println!("| answer | requests/s | CPU µs an answer | of it the server's process |");
    println!("|---|---:|---:|---:|");
    for measured in cases {
        let of_weir = measured.rounds.iter().map(|(weir, _)| weir);
        print_row(measured.case.name, &of_weir.collect::<Vec<_>>());
        let of_plain = measured.rounds.iter().filter_map(|(_, plain)| plain.as_ref());
        if measured.case.over_plain_us.is_some() {
            print_row("the same by plain axum", &of_plain.collect::<Vec<_>>());
        }
    }
    let mut within = true;
    for measured in cases {
        let Some(bound_us) = measured.case.over_plain_us else { continue };
        let (over_us, rate) = (measured.over_plain_us(), measured.rate());
        println!(
            "{}: {over_us:+.1} µs of CPU over plain axum (at most {bound_us:.0}), {rate:.2} of its \
             requests/s",
            measured.case.name,
        );
        // Written so that no figure at all is not within the bound either.
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
    fn differences_are_taken_within_a_round() {
        // The machine slows down: both do. Medians apart would differ by 3.
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
