//! `cargo xtask soak neighbours`: what a good client notices of attacks on the same server.
//!
//! The good client ([`good_client`], at fixed times: [`schedule`]) is measured alone, next to an
//! honest neighbour, and during each of [`attacks`], one [`phase`] after the other, on one server
//! ([`world`]). [`verdict`] compares, and [`report`] prints. docs/containment.md explains the result.

mod attacks;
mod good_client;
mod outcome;
mod phase;
mod report;
mod schedule;
mod target;
mod texts;
mod verdict;
mod watch;
mod world;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::attacks::{ATTACKS, Attack, HONEST};
use self::phase::Settings;
use self::verdict::Phase;
use crate::commands::bench::machine;
use crate::commands::test::build_server;
use crate::interrupt::Interrupt;
use crate::server::Server;
use crate::workspace::Workspace;
use crate::{components, set_up};

/// The phase without a neighbour.
const ALONE: &str = "alone";

/// Measure what a good client notices of attacks
///
/// A good client asks 200 questions from the cache and 10 new ones a second, and writes one
/// document, whether or not the server keeps up. It is measured alone, next to honest searches that
/// saturate the machine, and during each attack. Prints a table, and writes it to
/// soak/neighbours.md in the target folder.
///
/// Fails if, during an attack, the 99th percentile of its hits is over 2 times, or that of its
/// misses over 3 times, what it is next to the honest searches; if one of its requests fails; if the
/// server takes more memory than its budget; or if connections, handles or slots for guests do not
/// come back. Run nothing else at the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Neighbours {
    /// Seconds for which each phase is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Run only this attack; may be repeated
    #[arg(long, value_name = "ATTACK")]
    only: Vec<String>,
    /// Print the attacks, and run none
    #[arg(long)]
    list: bool,
    /// The most memory that the server may take, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    budget_mib: u64,
    /// Measure the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

impl Neighbours {
    pub(super) async fn run(self) -> Result<()> {
        if self.list {
            for attack in ATTACKS {
                println!("{:22} {}", attack.name, attack.what);
            }
            return Ok(());
        }
        let attacks = chosen(&self.only)?;
        // Dropping this future stops the server and removes its folder.
        let mut interrupt = Interrupt::new()?;
        tokio::select! {
            result = self.measure(&attacks) => result,
            () = interrupt.received() => bail!("interrupted"),
        }
    }

    async fn measure(&self, attacks: &[&'static Attack]) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        if !self.no_build {
            components::build(&workspace, &tools.wasm)?;
            build_server(&workspace)?;
        }
        allow_connections()?;
        machine::warn_if_busy()?;
        let folder = tempfile::tempdir().context("creating a folder for the server")?;
        let mut server = world::start(&workspace, &tools.embedding, folder.path()).await?;
        world::fill(&server).await.map_err(|error| server.explain(&error))?;
        let mut phases = Vec::new();
        let measured = self.phases(&server, attacks, &mut phases).await;
        let report =
            report::markdown(&phases, HONEST.name, self.budget_mib, &machine::description()?);
        println!("\n{report}");
        let file = workspace.target.join("soak/neighbours.md");
        fs::create_dir_all(workspace.target.join("soak"))?;
        fs::write(&file, report).with_context(|| format!("writing {}", file.display()))?;
        if let Err(error) = measured {
            return Err(explained(&mut server, error).await);
        }
        server.stop().await?;
        self.judge(&phases)
    }

    /// Runs the phases one after the other. Those that have ended are kept if one fails.
    async fn phases(
        &self,
        server: &Server,
        attacks: &[&'static Attack],
        phases: &mut Vec<Phase>,
    ) -> Result<()> {
        let settings =
            Settings { measured: Duration::from_secs(self.seconds), budget_mib: self.budget_mib };
        let neighbours = [(ALONE, None), (HONEST.name, Some(&HONEST))];
        let attacks = attacks.iter().map(|attack| (attack.name, Some(*attack)));
        for (name, attack) in neighbours.into_iter().chain(attacks) {
            eprintln!("{name} …");
            let phase = phase::run(server, name, attack, settings).await;
            let phase = phase.with_context(|| format!("the phase {name}"))?;
            eprintln!("{}", report::line(&phase));
            phases.push(phase);
        }
        Ok(())
    }

    fn judge(&self, phases: &[Phase]) -> Result<()> {
        let honest = phases.iter().find(|phase| phase.name == HONEST.name);
        ensure!(honest.is_some(), "nothing was measured");
        let is_attack = |phase: &Phase| ![ALONE, HONEST.name].contains(&phase.name);
        let broken: Vec<_> = phases
            .iter()
            .filter(|phase| {
                let honest = honest.filter(|_| is_attack(phase));
                !phase.violations(honest, self.budget_mib).is_empty()
            })
            .map(|phase| phase.name)
            .collect();
        ensure!(broken.is_empty(), "not within the bounds: {}", broken.join(", "));
        Ok(())
    }
}

/// The attacks to run; all if none is named.
fn chosen(only: &[String]) -> Result<Vec<&'static Attack>> {
    for name in only {
        ensure!(
            ATTACKS.iter().any(|attack| attack.name == name),
            "there is no attack '{name}'; --list shows all"
        );
    }
    let is_chosen = |attack: &&Attack| only.is_empty() || only.iter().any(|n| n == attack.name);
    Ok(ATTACKS.iter().filter(is_chosen).collect())
}

/// Lets this process and the server have as many connections as the system allows.
fn allow_connections() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")
}

/// Adds how the server ended, if it has.
async fn explained(server: &mut Server, error: anyhow::Error) -> anyhow::Error {
    let ended = tokio::time::timeout(Duration::from_secs(1), server.ended()).await;
    ended.map_or(error, |ended| ended)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn attacks_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), ATTACKS.len());
        let one = chosen(&["trap".into(), "trap".into()]).unwrap();
        assert_eq!(one.iter().map(|attack| attack.name).collect::<Vec<_>>(), ["trap"]);
        let unknown = chosen(&["trip".into()]).err().unwrap().to_string();
        assert!(unknown.contains("'trip'") && unknown.contains("--list"), "{unknown}");
    }
}
