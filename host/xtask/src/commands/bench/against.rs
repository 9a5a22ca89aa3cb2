//! `cargo xtask bench --against REV`: this checkout and another revision, in one run.
//!
//! Three servers run, two of them this checkout's: what these differ by is chance, and widens
//! what the other comparison may show. Each case runs on each server in each round, in an
//! order that rotates, so that other load of the machine affects all of them. CPU time is the
//! server process's own, because the machine's would count two idle servers and whatever else
//! runs; the kernel's work outside of the process is not counted, which does not matter between
//! servers that send the same bytes.

use anyhow::{Context, Result, ensure};

use super::cases::CASES;
use super::comparison::{self, Comparison, Round};
use super::measure::{Amount, Target, measure};
use super::prepare::{capture, prepare};
use super::side::{Side, target};
use super::{Revision, Timing, machine, this_checkout};

const WARM_UP_SECONDS: f64 = 1.0;
/// This checkout, this checkout again, the other revision.
const SERVERS: usize = 3;

/// Builds both, measures, prints, and fails where this checkout costs too much.
pub(super) async fn run(timing: Timing, revision: &str, no_bounds: bool) -> Result<()> {
    let (workspace, tools) = this_checkout()?;
    let revision = Revision::find(&workspace, revision)?;
    let new = Side::build(&workspace, &tools.embedding)?;
    let other = revision.side(&workspace, &tools)?;
    machine::warn_if_busy()?;
    let folder = tempfile::tempdir().context("making a folder for the servers")?;
    let mut servers = Vec::new();
    for (side, name) in [(&new, "this checkout"), (&new, "this again"), (&other, "the other")] {
        eprintln!("Starting {name}, ingesting documents and filling the cache …");
        let server = side.start(&folder.path().join(name.replace(' ', "-"))).await?;
        prepare(target(&server)?, timing.connections).await?;
        servers.push(server);
    }
    let targets = servers.iter().map(target).collect::<Result<Vec<Target>>>()?;
    warn_of_other_answers(targets[0], targets[2]).await?;
    println!("{}", machine::description()?);
    println!(
        "{} rounds of {} s a case and server, {} connections",
        timing.rounds, timing.seconds, timing.connections
    );
    let comparisons = rounds(timing, &targets).await?;
    for server in servers {
        server.stop().await?;
    }
    let within = comparison::print(&comparisons, &revision.label());
    ensure!(
        within || no_bounds,
        "this revision costs more than {} by more than it may",
        revision.label()
    );
    Ok(())
}

async fn rounds(timing: Timing, targets: &[Target]) -> Result<Vec<Comparison>> {
    let mut comparisons: Vec<Comparison> =
        CASES.iter().map(|case| Comparison { name: case.name, rounds: Vec::new() }).collect();
    for round in 0..=usize::from(timing.rounds) {
        let seconds = if round == 0 {
            eprintln!("Warming up …");
            WARM_UP_SECONDS
        } else {
            eprintln!("Round {round} of {} …", timing.rounds);
            timing.seconds
        };
        for (case, comparison) in CASES.iter().zip(&mut comparisons) {
            let mut measures = [const { None }; SERVERS];
            for server in order(round) {
                measures[server] = Some(
                    measure(targets[server], case, timing.connections, Amount::Seconds(seconds))
                        .await?,
                );
            }
            if let ([Some(new), Some(again), Some(other)], 1..) = (measures, round) {
                comparison.rounds.push(Round { new, again, other });
            }
        }
    }
    Ok(comparisons)
}

/// Which server comes when: each is first, second and last equally often, and after each other
/// one equally often.
fn order(round: usize) -> [usize; SERVERS] {
    let mut order = [0, 1, 2];
    order.rotate_left(round % SERVERS);
    if (round / SERVERS) % 2 == 1 {
        order.reverse();
    }
    order
}

/// Servers that answer otherwise do other work: says so, because their costs then show that too.
async fn warn_of_other_answers(new: Target, other: Target) -> Result<()> {
    for case in &CASES {
        let (_, of_new) = capture(new, case).await?;
        let (_, of_other) = capture(other, case).await?;
        if of_new != of_other {
            println!(
                "{}: the two answer otherwise ({} and {} bytes), so they are not doing the same work",
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
                let count = (0..6).filter(|round| order(*round)[place] == server).count();
                assert_eq!(count, 2);
            }
        }
        assert_ne!(order(1), order(4));
    }
}
