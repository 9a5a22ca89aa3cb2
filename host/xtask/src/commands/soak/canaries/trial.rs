//! A candidate that is worse, until it is rolled back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PIPELINE, ROUNDS, version};
use crate::commands::soak::experiment::administrator::Administrator;

/// Before it has had so many runs, a candidate like these is to be rolled back.
pub(super) const WINDOW: u64 = 1_200;
/// The parts of the requests, in percent.
pub(super) const WEIGHTS: [u8; 5] = [10, 20, 30, 40, 50];
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// Much longer than the window.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(300);

/// What is wrong with a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    rounds: u64,
    trap_percent: u64,
}

pub(super) const FAULTS: [Fault; 2] = [
    Fault { name: "fails 5 %", rounds: ROUNDS, trap_percent: 5 },
    Fault { name: "3 times slower", rounds: 3 * ROUNDS, trap_percent: 0 },
];

/// What became of a candidate.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) fault: Fault,
    pub(super) weight_percent: u8,
    /// What the history says about its end, if it was rolled back.
    pub(super) by: Option<String>,
    /// How many runs it had then.
    pub(super) runs: u64,
    pub(super) took: Duration,
}

impl Trial {
    pub(super) fn is_found(&self) -> bool {
        self.by.is_some() && self.runs <= WINDOW
    }
}

/// Tries a candidate until it is rolled back, or has had twice as many runs as it may.
pub(super) async fn run(
    admin: &Administrator,
    digest: &str,
    fault: Fault,
    weight_percent: u8,
) -> Result<Trial> {
    let Fault { rounds, trap_percent, .. } = fault;
    let settings = json!({ "rounds": rounds, "trap_percent": trap_percent });
    let began = Instant::now();
    admin.deploy(PIPELINE, &candidate(digest, settings, weight_percent)).await?;
    loop {
        sleep(ASKED_EVERY).await;
        let took = began.elapsed();
        ensure!(took < GIVEN_UP_AFTER, "a candidate had too few runs in {took:?}");
        let shown = admin.shown(PIPELINE).await?;
        if let Some(by) = rolled_back(&shown) {
            let runs = runs_in(&by).unwrap_or(u64::MAX);
            return Ok(Trial { fault, weight_percent, by: Some(by), runs, took });
        }
        let runs = compared(&shown, "candidate");
        if runs > 2 * WINDOW {
            admin.roll_back(PIPELINE).await?;
            return Ok(Trial { fault, weight_percent, by: None, runs, took });
        }
    }
}

/// A version that answers a part of the requests.
pub(super) fn candidate(digest: &str, settings: Value, weight_percent: u8) -> Value {
    let mut candidate = version(digest, settings);
    candidate["weight_percent"] = weight_percent.into();
    candidate
}

/// Who has ended the trial, if it has ended.
pub(super) fn rolled_back(shown: &Value) -> Option<String> {
    let has_ended = shown["candidate"].is_null();
    has_ended.then(|| shown["history"][0]["by"].as_str().unwrap_or_default().to_owned())
}

/// How many runs of a side are compared.
pub(super) fn compared(shown: &Value, side: &str) -> u64 {
    shown["candidate"]["compared"][side]["runs"].as_u64().unwrap_or(0)
}

/// The number in `weir: 30 of the candidate's 600 runs failed, …`.
fn runs_in(by: &str) -> Option<u64> {
    by.strip_prefix("weir: ")?.split_once("the candidate's ")?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_weir_itself_has_counted_runs() {
        for (by, expected) in [
            ("weir: 30 of the candidate's 600 runs failed, and 0 of the 5400 others", Some(600)),
            ("alice", None),
            ("weir: ", None),
        ] {
            assert_eq!(runs_in(by), expected, "{by}");
        }
    }

    #[test]
    fn a_candidate_that_is_found_late_is_not_found() {
        let trial = |by: Option<&str>, runs| Trial {
            fault: FAULTS[0],
            weight_percent: 10,
            by: by.map(str::to_owned),
            runs,
            took: Duration::ZERO,
        };
        assert!(trial(Some("weir"), 1_200).is_found());
        assert!(!trial(Some("weir"), 1_201).is_found());
        assert!(!trial(None, 300).is_found());
    }
}
