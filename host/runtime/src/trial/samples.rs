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
