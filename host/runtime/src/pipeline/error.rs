//! Why a run failed.

use http::StatusCode;
use thiserror::Error;
use weir_core::Position;

use super::answer::AnswerError;
use crate::engine::slots::NoSlot;

/// Why a run failed.
#[derive(Clone, Debug, Error)]
pub enum RunError {
    /// No guest slot became free in time.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// It needed memory when guests already used all that they may.
    #[error("the memory for guests is used up")]
    NoMemory,
    /// The deadline passed in the guest, in a host call, or while the request waited.
    #[error("the pipeline took longer than its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The deployment's deadline.
        deadline_ms: u64,
    },
    /// It asked for more memory than it may have, and then trapped.
    #[error("the pipeline asked for more than {max_bytes} bytes of memory")]
    MemoryExceeded {
        /// The deployment's limit.
        max_bytes: usize,
    },
    /// Its calls are nested too deeply for its stack.
    #[error("the pipeline's stack overflowed")]
    StackOverflow,
    /// It trapped.
    #[error("the pipeline trapped: {0}")]
    Trapped(String),
    /// It returned an invalid answer.
    #[error("the pipeline's answer is not valid: {0}")]
    InvalidAnswer(#[from] AnswerError),
    /// Its answer, or what it passed to a host call, is too large.
    #[error("the pipeline passed more than {max_bytes} bytes at once")]
    TooLarge {
        /// The limit of one call.
        max_bytes: usize,
    },
    /// It returned a failure.
    #[error("the pipeline failed with {kind:?} ({code}): {message}")]
    Failure {
        /// The kind of failure.
        kind: FailureKind,
        /// The pipeline's own stable code.
        code: String,
        /// The message for the client.
        message: String,
    },
    /// Something that it read is not applied as far as the client demands, or as far as it was
    /// before the index was rebuilt.
    #[error(
        "what the pipeline read has not reached position {at_least} yet: try again, or demand less"
    )]
    PositionNotReached {
        /// The demanded position.
        at_least: Position,
    },
    /// The collections that it read have no position in common, and it is configured to answer
    /// only at one position.
    #[error(
        "the collections that the pipeline read are not at a common position yet: try again when \
         the search index has caught up"
    )]
    PositionNotAvailable,
    /// The cache has no answer, and the client wanted no run.
    #[error("the cache has no answer, and the request says only-if-cached")]
    NotCached,
    /// The host panicked during the run.
    #[error("the host failed while running the pipeline")]
    Panicked,
}

/// The kinds of the WIT's `failure`. Each has its own HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong.
    InvalidRequest,
    /// What the request asks for does not exist.
    NotFound,
    /// The request is not allowed.
    Denied,
    /// Something that the pipeline needs is currently unavailable.
    Unavailable,
    /// Something that the pipeline needs took too long.
    TimedOut,
    /// The pipeline failed.
    Failed,
}

impl FailureKind {
    /// The status that clients are answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl RunError {
    /// Whether it is about the positions of one client's request, so that others may fare better.
    #[must_use]
    pub fn is_about_positions(&self) -> bool {
        matches!(self, Self::PositionNotReached { .. } | Self::PositionNotAvailable)
    }

    /// Whether it says that the request was refused, rather than that the pipeline failed: later, or
    /// with another demand, the pipeline may answer it.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoSlot(_) | Self::NoMemory | Self::NotCached)
            || self.is_about_positions()
    }

    /// Whether the pipeline, or what it needs, has failed: not if the request was refused, or is wrong.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        !self.is_refusal() && self.may_be_covered()
    }

    /// Whether an old answer may be given instead, if there is one that its policy allows: nobody is
    /// told that a request is wrong, or that a position is not reached, by what is older.
    #[must_use]
    pub fn may_be_covered(&self) -> bool {
        match self {
            Self::Failure { kind, .. } => !matches!(
                kind,
                FailureKind::InvalidRequest | FailureKind::NotFound | FailureKind::Denied
            ),
            error => !error.is_about_positions(),
        }
    }

    /// The memory that its texts take.
    #[must_use]
    pub fn text_bytes(&self) -> u32 {
        let bytes = match self {
            Self::Trapped(text) => text.len(),
            Self::Failure { code, message, .. } => code.len() + message.len(),
            _ => 0,
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// A short stable name, for counters.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSlot(_) => "no-slot",
            Self::NoMemory => "no-memory",
            Self::DeadlineExceeded { .. } => "deadline-exceeded",
            Self::MemoryExceeded { .. } => "memory-exceeded",
            Self::StackOverflow => "stack-overflow",
            Self::Trapped(_) => "trapped",
            Self::InvalidAnswer(_) => "invalid-answer",
            Self::TooLarge { .. } => "too-large",
            Self::Failure { .. } => "failure",
            Self::PositionNotReached { .. } => "position-not-reached",
            Self::PositionNotAvailable => "position-not-available",
            Self::NotCached => "not-cached",
            Self::Panicked => "panicked",
        }
    }
}
