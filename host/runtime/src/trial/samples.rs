//! Whether a pipeline can handle the samples of its manifest.
//!
//! It can if each is answered with a status below 500. One of 400 to 499 is an answer: a tenant without
//! documents does not have what a sample asks for. All samples are tried, so that one error names all that
//! fail, within one budget of time. Out of scope: what an answer says.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use thiserror::Error;

use super::{Trial, TrialError, Tried};
use crate::pipeline::{Pipeline, RunError};
use crate::plugin::manifest::Manifest;

/// Samples that a plugin cannot handle, in the order of its manifest.
#[derive(Clone, Debug, Error)]
#[error(
    "{plugin} cannot handle the samples of its manifest:\n  {}\nEach must be answered with a status below 500, by a \
     tenant without documents: `weir plugin test` tries them on your machine",
    lines(failed)
)]
pub struct SamplesError {
    /// The plugin's name and version.
    pub plugin: String,
    /// Which samples, and why.
    pub failed: Vec<FailedSample>,
}

/// A sample that a plugin cannot handle.
#[derive(Clone, Debug, Error)]
#[error("plugin.toml:{line}: samples[{index}]: {fault}")]
pub struct FailedSample {
    /// The line of the manifest.
    pub line: usize,
    /// Its place among the samples.
    pub index: usize,
    /// Why.
    pub fault: Fault,
}

/// Why the answer to a sample is none.
#[derive(Clone, Debug)]
pub enum Fault {
    /// There is no answer.
    Run {
        /// Why not.
        error: RunError,
        /// Whether a host call was unavailable, timed out or failed, which may be why.
        degraded: bool,
    },
    /// It answers that it has failed.
    Status(StatusCode),
    /// The time for all samples was used up before it was answered.
    OutOfTime {
        /// The time for all of them.
        budget: Duration,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { error, degraded } => {
                write!(f, "{error}")?;
                match error {
                    RunError::DeadlineExceeded { .. } => {
                        f.write_str(": do less, or ask for more with limits.deadline_ms")
                    }
                    RunError::MemoryExceeded { .. } => {
                        f.write_str(": use less, or ask for more with limits.max_memory_bytes")
                    }
                    _ if *degraded => f.write_str(", after a call to the host had failed"),
                    _ => Ok(()),
                }
            }
            Self::Status(status) => write!(f, "it is answered with the status {}", status.as_u16()),
            Self::OutOfTime { budget } => {
                let budget_ms = budget.as_millis();
                write!(f, "it was not answered within the {budget_ms} ms for all samples")
            }
        }
    }
}

fn lines(failed: &[FailedSample]) -> String {
    failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// Why a pipeline that has answered a sample like that cannot handle it; `None` if it can.
#[must_use]
pub fn fault(tried: &Tried) -> Option<Fault> {
    match &tried.outcome {
        Ok(answer) if answer.status.is_server_error() => Some(Fault::Status(answer.status)),
        Ok(_) => None,
        Err(RunError::Failure { kind, .. }) if !kind.status().is_server_error() => None,
        Err(error) => Some(Fault::Run { error: error.clone(), degraded: tried.degraded }),
    }
}

/// Tries all samples of a manifest, within `budget`. Returns those that the pipeline cannot handle.
///
/// # Errors
/// The host failed.
pub async fn failed(
    trial: &Trial<'_>,
    pipeline: &Arc<Pipeline>,
    manifest: &Manifest,
    budget: Duration,
) -> Result<Vec<FailedSample>, TrialError> {
    let until = Instant::now() + budget;
    let mut failed = Vec::new();
    for (index, sample) in manifest.samples.iter().enumerate() {
        let fault = match trial.run(pipeline, sample, until).await {
            Ok(tried) => fault(&tried),
            Err(TrialError::OutOfTime) => Some(Fault::OutOfTime { budget }),
            Err(error) => return Err(error),
        };
        failed.extend(fault.map(|fault| FailedSample { line: sample.line, index, fault }));
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::engine::slots::NoSlot;
    use crate::pipeline::Answer;
    use crate::pipeline::error::FailureKind;

    fn answered(status: StatusCode) -> Result<Answer, RunError> {
        let content_type = HeaderValue::from_static("text/plain");
        Ok(Answer { status, content_type, headers: Vec::new(), body: Bytes::new() })
    }

    fn failed_with(kind: FailureKind) -> Result<Answer, RunError> {
        Err(RunError::Failure { kind, code: "c".to_owned(), message: "m".to_owned() })
    }

    fn said(outcome: Result<Answer, RunError>, degraded: bool) -> Option<String> {
        let tried = Tried { outcome, lacked_model: false, degraded, took: Duration::ZERO };
        fault(&tried).map(|fault| fault.to_string())
    }

    #[test]
    fn an_answer_below_500_is_one() {
        let trapped = Err(RunError::Trapped("t".to_owned()));
        let late = Err(RunError::DeadlineExceeded { deadline_ms: 7 });
        let large = Err(RunError::MemoryExceeded { max_bytes: 9 });
        for (outcome, expected) in [
            (answered(StatusCode::OK), None),
            (answered(StatusCode::FOUND), None),
            (answered(StatusCode::NOT_FOUND), None),
            (answered(StatusCode::BAD_GATEWAY), Some("it is answered with the status 502")),
            (failed_with(FailureKind::InvalidRequest), None),
            (failed_with(FailureKind::NotFound), None),
            (failed_with(FailureKind::Denied), None),
            (
                failed_with(FailureKind::Unavailable),
                Some("the pipeline failed with Unavailable (c)"),
            ),
            (failed_with(FailureKind::TimedOut), Some("the pipeline failed with TimedOut (c)")),
            (failed_with(FailureKind::Failed), Some("the pipeline failed with Failed (c): m")),
            (trapped, Some("the pipeline trapped: t")),
            (late, Some("the pipeline took longer than its deadline of 7 ms: do less, or")),
            (large, Some("the pipeline asked for more than 9 bytes of memory: use less, or")),
            (Err(RunError::NoSlot(NoSlot)), Some("all guest slots are busy")),
            (Err(RunError::Panicked), Some("the host failed while running the pipeline")),
        ] {
            let said = said(outcome, false);
            let matches = match expected {
                Some(expected) => said.as_deref().is_some_and(|said| said.starts_with(expected)),
                None => said.is_none(),
            };
            assert!(matches, "{said:?} is not {expected:?}");
        }
        let degraded = said(failed_with(FailureKind::Unavailable), true);
        assert!(degraded.is_some_and(|said| said.ends_with("after a call to the host had failed")));
    }

    #[test]
    fn every_sample_that_fails_has_a_line() {
        let budget = Duration::from_millis(5);
        let failed = [(3, 0), (9, 2)].map(|(line, index)| FailedSample {
            line,
            index,
            fault: Fault::OutOfTime { budget },
        });
        let error = SamplesError { plugin: "a 1".to_owned(), failed: failed.into() };
        let lines: Vec<_> = error.to_string().lines().map(ToOwned::to_owned).collect();
        assert_eq!(lines[0], "a 1 cannot handle the samples of its manifest:");
        let late = "it was not answered within the 5 ms for all samples";
        assert_eq!(lines[1], format!("  plugin.toml:3: samples[0]: {late}"));
        assert_eq!(lines[2], format!("  plugin.toml:9: samples[2]: {late}"));
        assert_eq!(lines.len(), 4);
    }
}
