//! The table of the experiment, in Markdown, and what was recorded.

use std::fmt::Write;
use std::time::Duration;

use super::load::{RUNS_PER_SECOND, SEARCHES_PER_SECOND};
use super::trial::{FAULTS, Trial, WEIGHTS};
use super::{Measured, Recording};
use crate::commands::soak::experiment::bound;
use crate::traffic::times::median_and_p99;

const HEAD: &str =
    "| candidate | weight | rolled back | after runs | because it |\n|---|---:|---:|---:|---|\n";

pub(super) fn markdown(measured: &Measured, machine: &str) -> String {
    let mut text = HEAD.to_owned();
    for fault in FAULTS {
        for weight in WEIGHTS {
            let of =
                |trial: &&Trial| trial.fault.name == fault.name && trial.weight_percent == weight;
            let trials: Vec<_> = measured.trials.iter().filter(of).collect();
            if !trials.is_empty() {
                text += &row(fault.name, weight, &trials);
            }
        }
    }
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\n{RUNS_PER_SECOND} runs a second, and {SEARCHES_PER_SECOND} searches. Measured on {machine}, which the \
         clients share with the server.\n\n{}\n{}",
        bound::table(&measured.bounds()),
        recorded(&measured.recording),
    );
    text
}

/// What became of a candidate in one line, for those who wait.
pub(super) fn line(trial: &Trial) -> String {
    let Trial { fault, weight_percent, by, runs, took } = trial;
    let by = by.as_deref().unwrap_or("not rolled back");
    format!(
        "{}, {weight_percent} %: after {runs} runs and {:.1} s: {by}",
        fault.name,
        took.as_secs_f64()
    )
}

fn row(fault: &str, weight: u8, trials: &[&Trial]) -> String {
    let found = trials.iter().filter(|trial| trial.is_found()).count();
    let runs = trials.iter().map(|trial| trial.runs);
    let (least, most) = (runs.clone().min().unwrap_or(0), runs.max().unwrap_or(0));
    let reasons = ["failed", "nine in ten", "half"].into_iter().filter_map(|reason| {
        let has = |trial: &&&Trial| trial.by.as_ref().is_some_and(|by| by.contains(reason));
        let count = trials.iter().filter(has).count();
        let said = match reason {
            "failed" => "failed",
            "nine in ten" => "took longer than nine in ten",
            _ => "took longer than half",
        };
        (count > 0).then(|| format!("{said} ({count})"))
    });
    let reasons: Vec<_> = reasons.collect();
    format!(
        "| {fault} | {weight} % | {found} of {} | {least} to {most} | {} |\n",
        trials.len(),
        reasons.join(", ")
    )
}

fn recorded(recording: &Recording) -> String {
    let mut times: Vec<_> =
        recording.runs.iter().map(|run| Duration::from_micros(run.microseconds)).collect();
    times.sort_unstable();
    let failed = recording.runs.iter().filter(|run| run.failed).count();
    format!(
        "Recorded: {} runs of two versions that are no different, of which {failed} failed; p50 / p99 {} ms. All \
         requests of the experiment ended: {}.\n",
        times.len(),
        median_and_p99(&times),
        recording.ends,
    )
}

#[cfg(test)]
mod tests {
    use super::super::recording::Run;
    use super::*;

    #[test]
    fn the_report_has_a_row_for_each_weight_and_what_was_recorded() {
        let trial = |by: Option<&str>, runs| Trial {
            fault: FAULTS[0],
            weight_percent: 10,
            by: by.map(str::to_owned),
            runs,
            took: Duration::from_secs(1),
        };
        let run = Run { failed: true, microseconds: 1_500 };
        let measured = Measured {
            trials: vec![
                trial(Some("weir: 30 of the candidate's 600 runs failed, and"), 600),
                trial(None, 2_401),
            ],
            recording: Recording { runs: vec![run], rolled_back: None, ends: Default::default() },
        };
        let text = markdown(&measured, "a machine");
        for line in [
            "| fails 5 % | 10 % | 1 of 2 | 600 to 2401 | failed (1) |",
            "| fails 5 % | 1 of 2 | all rolled back within 1200 runs | no |",
            "| no different | stayed | not rolled back | yes |",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(text.contains("1 runs of two versions that are no different, of which 1 failed; p50 / p99 1.5 / 1.5 ms"), "{text}");
        assert!(line(&measured.trials[1]).ends_with("not rolled back"));
    }
}
