//! Runs of two versions that are no different, as the rule that compares them is told of them.
//!
//! The rule logs each run, at the level `trace`. The recording is complete if there are as many lines as it has
//! counted runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::load::Load;
use super::trial::{candidate, compared, rolled_back};
use super::{PIPELINE, ROUNDS, version};
use crate::commands::soak::experiment::administrator::Administrator;
use crate::commands::soak::experiment::afterwards::must_be_quiet;
use crate::server::Server;
use crate::traffic::outcome::Counts;
use crate::watch::Process;

/// Where the rule logs.
pub(super) const TARGET: &str = "weir_runtime::pipeline::canary";
/// The part of the runs of each version that fails.
const TRAP_PERCENT: u64 = 1;
const WEIGHT_PERCENT: u8 = 50;
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// Longer than a run takes.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// How often the log is read until it is complete.
const READ: usize = 20;

/// What was recorded.
pub(super) struct Recording {
    /// In the order in which they ended.
    pub(super) runs: Vec<Run>,
    /// Why the candidate was rolled back, if it was.
    pub(super) rolled_back: Option<String>,
    /// How all requests of the load ended.
    pub(super) ends: Counts,
}

/// A run, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Run {
    pub(super) failed: bool,
    pub(super) microseconds: u64,
}

/// A line of the log.
#[derive(Deserialize)]
struct Line {
    target: String,
    #[serde(flatten)]
    run: Option<Run>,
}

impl Recording {
    /// A line for each run.
    pub(super) fn text(&self) -> String {
        let line = |run: &Run| format!("{} {}\n", run.failed, run.microseconds);
        self.runs.iter().map(line).collect()
    }
}

/// Tries a version beside one that is no different until so many runs are compared, and stops the load.
pub(super) async fn record(
    admin: &Administrator,
    server: &Server,
    digest: &str,
    runs: u64,
    load: Load,
) -> Result<Recording> {
    let settings =
        |says: u64| json!({ "rounds": ROUNDS, "trap_percent": TRAP_PERCENT, "says": says });
    admin.deploy(PIPELINE, &version(digest, settings(0))).await?;
    let before = settled(server.log()).await?;
    admin.deploy(PIPELINE, &candidate(digest, settings(1), WEIGHT_PERCENT)).await?;
    let mut rolled = None;
    while rolled.is_none() {
        sleep(ASKED_EVERY).await;
        let shown = admin.shown(PIPELINE).await?;
        rolled = rolled_back(&shown);
        if all_compared(&shown) >= runs {
            break;
        }
    }
    let ends = load.stop().await?;
    must_be_quiet(&Process::new(server.id()?)).await?;
    let counted = match &rolled {
        // What is no longer tried is no longer shown.
        Some(_) => None,
        None => Some(all_compared(&admin.shown(PIPELINE).await?)),
    };
    let mut found = 0;
    for _ in 0..READ {
        let runs = recorded(server.log())?.split_off(before);
        found = runs.len();
        if counted.is_none_or(|counted| runs.len() as u64 == counted) {
            return Ok(Recording { runs, rolled_back: rolled, ends });
        }
        sleep(ASKED_EVERY).await;
    }
    bail!("the log has {found} runs, and {counted:?} were compared");
}

fn all_compared(shown: &serde_json::Value) -> u64 {
    compared(shown, "base") + compared(shown, "candidate")
}

/// How many runs are in a log when those of earlier trials that were in progress have ended.
async fn settled(log: &Path) -> Result<usize> {
    let mut before = recorded(log)?.len();
    loop {
        sleep(SETTLED_AFTER).await;
        let now = recorded(log)?.len();
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// All runs in a log.
fn recorded(log: &Path) -> Result<Vec<Run>> {
    let text = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(run).collect())
}

/// The run that a line is about.
fn run(line: &str) -> Option<Run> {
    let line: Line = serde_json::from_str(line).ok()?;
    line.run.filter(|_| line.target == TARGET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_the_rule_are_runs() {
        let found = Some(Run { failed: true, microseconds: 1_500 });
        for (line, expected) in [
            (
                r#"{"timestamp":"2026-01-01T00:00:00Z","level":"TRACE","message":"ran","side":"Base","failed":true,"microseconds":1500,"target":"weir_runtime::pipeline::canary"}"#,
                found,
            ),
            (r#"{"failed":true,"microseconds":1500,"target":"weir::http"}"#, None),
            (r#"{"message":"x","target":"weir_runtime::pipeline::canary"}"#, None),
            ("weir listening on 127.0.0.1:1", None),
        ] {
            assert_eq!(run(line), expected, "{line}");
        }
    }
}
