//! Why a run has no answer.

use thiserror::Error;

use super::answer::AnswerError;
use crate::engine::threads::NoSlot;

/// Why a run has no answer.
#[derive(Clone, Debug, Error)]
pub enum RunError {
    /// No guest slot became free in time.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// The deadline passed: in the guest, in a host call, or while it waited.
    #[error("the pipeline took longer than its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The deployment's deadline.
        deadline_ms: u64,
    },
    /// It asked for more memory than it may have, and did not survive the refusal.
    #[error("the pipeline asked for more than {max_bytes} bytes of memory")]
    MemoryExceeded {
        /// The deployment's limit.
        max_bytes: usize,
    },
    /// Its calls are nested deeper than its stack.
    #[error("the pipeline's stack overflowed")]
    StackOverflow,
    /// It trapped.
    #[error("the pipeline trapped: {0}")]
    Trapped(String),
    /// It answered, but not with an answer.
    #[error("the pipeline's answer is not valid: {0}")]
    InvalidAnswer(#[from] AnswerError),
    /// Its answer, or what it handed to a host call, is over the limit.
    #[error("the pipeline handed over more than {max_bytes} bytes at once")]
    TooLarge {
        /// The limit of one call.
        max_bytes: usize,
    },
    /// It refused or failed by its own account.
    #[error("the pipeline answered {kind:?} ({code}): {message}")]
    Failure {
        /// What kind of failure.
        kind: FailureKind,
        /// Its own stable code.
        code: String,
        /// For the client.
        message: String,
    },
    /// The host panicked.
    #[error("the host failed while it ran the pipeline")]
    Panicked,
}

/// WIT's `failure`, one status each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong.
    InvalidRequest,
    /// What it asks for is not there.
    NotFound,
    /// It may not be asked.
    Denied,
    /// Something that the pipeline needs is not there now.
    Unavailable,
    /// Something that the pipeline needs took too long.
    TimedOut,
    /// The pipeline failed.
    Failed,
}

impl RunError {
    /// A short stable name, for counters.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSlot(_) => "no-slot",
            Self::DeadlineExceeded { .. } => "deadline-exceeded",
            Self::MemoryExceeded { .. } => "memory-exceeded",
            Self::StackOverflow => "stack-overflow",
            Self::Trapped(_) => "trapped",
            Self::InvalidAnswer(_) => "invalid-answer",
            Self::TooLarge { .. } => "too-large",
            Self::Failure { .. } => "failure",
            Self::Panicked => "panicked",
        }
    }
}
