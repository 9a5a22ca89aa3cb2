//! `cargo xtask soak canaries`: whether candidates that are worse are rolled back, and others are not.
//!
//! A pipeline is asked in an open loop, next to searches ([`load`]). Candidates of it that fail or are slow are tried
//! one after the other ([`trial`]). Then one that is no different is tried, and each run of both is recorded
//! ([`recording`]): by the rule itself, which logs what it is told. From these runs, a test of `weir-runtime` makes
//! windows in which two versions that are no different are compared, and asks the rule about each. [`report`] prints.
//!
//! The guest is `tests/guests/adjustable`, whose settings say how it runs.

mod load;
mod recording;
mod report;
mod trial;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use weir_test_components::with_manifest;

use self::load::Load;
use self::recording::Recording;
use self::trial::{FAULTS, Trial, WEIGHTS};
use crate::commands::soak::experiment::administrator::Administrator;
use crate::commands::soak::experiment::bound::{self, Bound};
use crate::commands::soak::experiment::stage::Stage;
use crate::commands::soak::experiment::texts::MANIFEST;
use crate::commands::test::Test;
use crate::interrupt::Interrupt;
use crate::machine;

/// The name that it is deployed as.
const PIPELINE: &str = "adjustable";
/// How much a version computes that is not slow: a millisecond or two.
const ROUNDS: u64 = 1_000_000;
/// The fewest runs that windows are made of.
const FEWEST_RUNS: u64 = 20_000;

/// Try candidates that are worse, and ones that are not, under load
///
/// Of each kind of candidate, one that fails 5 % of its runs and one that is 3 times slower, 20 are tried beside a
/// pipeline that is asked 200 times a second, with weights from 10 to 50 percent. Then 30,000 runs of two versions
/// that are no different are recorded, and compared in 10,000 windows that are made of them. Prints a table, and
/// writes it to soak/canaries.md in the target folder.
///
/// Fails if a candidate that is worse is not rolled back before it has had 1,200 runs, or if in more than
/// one of the windows the rule finds a difference. Run nothing else at the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Canaries {
    /// How many candidates of each kind are tried
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// How many runs are recorded
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(FEWEST_RUNS..))]
    runs: u64,
    /// Measure the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

/// What was measured.
struct Measured {
    trials: Vec<Trial>,
    recording: Recording,
}

impl Canaries {
    pub(super) async fn run(self) -> Result<()> {
        // Dropping this future stops the server and removes its folder.
        let recorded = Interrupt::or(self.measure()).await?;
        Test {
            arguments: vec!["--lib".into(), "of_windows_of_recorded_runs".into()],
            variables: vec![("WEIR_RECORDED_RUNS", recorded.display().to_string())],
            with_ignored: true,
            ..Test::default()
        }
        .run()
    }

    /// Returns the file with the recorded runs.
    async fn measure(&self) -> Result<PathBuf> {
        let stage = Stage::set(self.no_build, configure).await?;
        let measured = self.trials_and_recording(&stage).await;
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => return stage.clear(Err(error)).await,
        };
        stage.report("canaries", &report::markdown(&measured, &machine::description()?))?;
        let recorded = stage.keep("canaries.runs", &measured.recording.text())?;
        stage.clear(Ok(())).await?;
        bound::all_must_hold(&measured.bounds())?;
        Ok(recorded)
    }

    async fn trials_and_recording(&self, stage: &Stage) -> Result<Measured> {
        let server = &stage.server;
        let admin = Administrator::of(server)?;
        let plugin = with_manifest(&stage.guest(PIPELINE)?, MANIFEST);
        let digest = admin.push(plugin).await?;
        admin.deploy(PIPELINE, &version(&digest, json!({ "rounds": ROUNDS }))).await?;
        let load = Load::start(server.address())?;
        let mut trials = Vec::new();
        for fault in FAULTS {
            for number in 0..self.trials {
                let weight = WEIGHTS[number as usize % WEIGHTS.len()];
                let trial = trial::run(&admin, &digest, fault, weight).await?;
                eprintln!("{}", report::line(&trial));
                trials.push(trial);
            }
        }
        let recording = recording::record(&admin, server, &digest, self.runs, load).await?;
        Ok(Measured { trials, recording })
    }
}

impl Measured {
    fn bounds(&self) -> Vec<Bound> {
        let mut bounds: Vec<_> = FAULTS
            .iter()
            .map(|fault| {
                let of = self.trials.iter().filter(|trial| trial.fault.name == fault.name);
                let (all, found) =
                    (of.clone().count(), of.filter(|trial| trial.is_found()).count());
                Bound {
                    name: fault.name,
                    most: format!("all rolled back within {} runs", trial::WINDOW),
                    measured: format!("{found} of {all}"),
                    holds: found == all,
                }
            })
            .collect();
        bounds.push(Bound {
            name: "no different",
            most: "not rolled back".to_owned(),
            measured: self.recording.rolled_back.clone().unwrap_or_else(|| "stayed".to_owned()),
            holds: self.recording.rolled_back.is_none(),
        });
        bounds
    }
}

fn configure(sections: &mut Value) {
    sections["plugins"] = json!({ "grants": { "settings": true } });
    let level = format!("info,{}=trace", recording::TARGET);
    sections["log"] = json!({ "level": level, "format": "json" });
}

/// The plugin with these settings.
fn version(digest: &str, settings: Value) -> Value {
    json!({ "digest": digest, "policy": null, "settings": settings })
}
