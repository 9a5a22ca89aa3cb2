//! `cargo xtask bench --against REV`: this checkout and another revision, in one run.
//!
//! Four servers run, two of each revision. Servers of one revision differ by a few percent, for
//! as long as they run: where the kernel puts their memory decides it. So all four are stopped
//! and started again several times, in another order each time, and what the pairs differ by
//! widens the bound. Each case runs on each server in each round, in an order that rotates, so
//! that other load of the machine affects all of them. CPU time is the server process's own: the
//! machine's would count three idle servers and whatever else runs. The kernel's work outside
//! the process is not counted, which does not matter between servers that send the same bytes.

use anyhow::{Context, Result, ensure};

use super::cases::CASES;
use super::comparison::{self, Comparison, Round};
use super::measure::{Amount, Target, measure};
use super::prepare::{capture, prepare};
use super::side::{Side, target};
use super::{Revision, Timing, this_checkout};
use crate::machine;

const WARM_UP_SECONDS: f64 = 1.0;
const SERVERS: usize = 4;

/// Builds both revisions, measures, prints, and fails if this checkout costs too much.
pub(super) async fn run(timing: Timing, revision: &str, no_bounds: bool) -> Result<()> {
    let (workspace, tools) = this_checkout()?;
    let revision = Revision::find(&workspace, revision)?;
    let new = Side::build(&workspace, &tools.embedding)?;
    let other = revision.side(&workspace, &tools)?;
    machine::warn_if_busy()?;
    println!("{}", machine::description()?);
    println!(
        "{} starts with {} rounds of {} s per case and server, {} connections",
        timing.starts,
        timing.rounds_per_start(),
        timing.seconds,
        timing.connections
    );
    let mut comparisons: Vec<Comparison> =
        CASES.iter().map(|case| Comparison { name: case.name, rounds: Vec::new() }).collect();
    for start in 0..usize::from(timing.starts) {
        measure_start(timing, [&new, &other, &new, &other], start, &mut comparisons).await?;
    }
    let within = comparison::print(&comparisons, &revision.label());
    ensure!(
        within || no_bounds,
        "this checkout costs more than {} by more than it may",
        revision.label()
    );
    Ok(())
}

/// Starts the servers, runs all rounds, and stops the servers.
async fn measure_start(
    timing: Timing,
    sides: [&Side; SERVERS],
    start: usize,
    comparisons: &mut [Comparison],
) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for the servers")?;
    let mut servers = [const { None }; SERVERS];
    for place in order(start) {
        eprintln!(
            "Start {} of {}: starting server {place}, ingesting documents, filling its cache …",
            start + 1,
            timing.starts
        );
        let server = sides[place].start(&folder.path().join(place.to_string())).await?;
        prepare(target(&server)?, timing.connections).await?;
        servers[place] = Some(server);
    }
    let targets = servers.iter().flatten().map(target).collect::<Result<Vec<Target>>>()?;
    if start == 0 {
        warn_of_other_answers(targets[0], targets[1]).await?;
    }
    rounds(timing, start, &targets, comparisons).await?;
    for server in servers.into_iter().flatten() {
        server.stop().await?;
    }
    Ok(())
}

async fn rounds(
    timing: Timing,
    start: usize,
    targets: &[Target],
    comparisons: &mut [Comparison],
) -> Result<()> {
    let last = timing.rounds_per_start();
    for round in 0..=usize::from(last) {
        // Counted over all starts: otherwise each would have the same few orders.
        let turn = start * usize::from(last) + round;
        let seconds = if round == 0 {
            eprintln!("Warming up …");
            WARM_UP_SECONDS
        } else {
            eprintln!("Round {round} of {last} …");
            timing.seconds
        };
        for (case, comparison) in CASES.iter().zip(&mut *comparisons) {
            let mut measures = [const { None }; SERVERS];
            for server in order(turn) {
                let amount = Amount::Seconds(seconds);
                let measured = measure(targets[server], case, timing.connections, amount).await?;
                measures[server] = Some(measured);
            }
            if let ([Some(new), Some(other), Some(new_again), Some(other_again)], 1..) =
                (measures, round)
            {
                comparison
                    .rounds
                    .push(Round { new: [new, new_again], other: [other, other_again] });
            }
        }
    }
    Ok(())
}

/// Which server comes when: within eight turns, each is first, second and so on equally often, and
/// comes both before and after each of the others.
fn order(turn: usize) -> [usize; SERVERS] {
    let mut order = [0, 1, 2, 3];
    order.rotate_left(turn % SERVERS);
    if (turn / SERVERS) % 2 == 1 {
        order.reverse();
    }
    order
}

/// Servers that give different answers do different work, and their costs show that too: says so.
async fn warn_of_other_answers(new: Target, other: Target) -> Result<()> {
    for case in &CASES {
        let (_, of_new) = capture(new, case).await?;
        let (_, of_other) = capture(other, case).await?;
        if of_new != of_other {
            println!(
                "{}: the answers differ ({} and {} bytes), so the two revisions do different work",
                case.name,
                of_new.len(),
                of_other.len()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_has_every_place_equally_often() {
        for place in 0..SERVERS {
            for server in 0..SERVERS {
                let count = (0..8).filter(|round| order(*round)[place] == server).count();
                assert_eq!(count, 2);
            }
        }
        assert_ne!(order(1), order(5));
    }
}
