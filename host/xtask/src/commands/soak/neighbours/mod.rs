//! `cargo xtask soak neighbours`: what a good client notices of attacks on the same server.
//!
//! The good client ([`good_client`]) is measured alone, next to an honest neighbour, and during each
//! of [`attacks`], one [`phase`] after the other, on one server. [`verdict`] compares, and [`report`]
//! prints. docs/containment.md explains the result.

mod attacks;
mod good_client;
mod phase;
mod report;
mod verdict;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::attacks::{ATTACKS, Attack, HONEST};
use self::phase::Settings;
use self::verdict::Phase;
use crate::commands::soak::experiment::stage::Stage;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::server::Server;

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
        Interrupt::or(self.measure(&attacks)).await
    }

    async fn measure(&self, attacks: &[&'static Attack]) -> Result<()> {
        let stage = Stage::set(self.no_build, |_| {}).await?;
        let mut phases = Vec::new();
        let measured = self.phases(&stage.server, attacks, &mut phases).await;
        let machine = machine::description()?;
        let report = report::markdown(&phases, HONEST.name, self.budget_mib, &machine);
        stage.report("neighbours", &report)?;
        stage.clear(measured).await?;
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
