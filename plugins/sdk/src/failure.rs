//! Making failures: by hand, and from the errors of host calls.

use crate::collections::VectorError;
use crate::documents::DocumentError;
use crate::embedding::EmbedError;
use crate::{Detail, Failure};

impl Failure {
    /// The request is at fault (400). `code` is `[a-z-]+` and stable: clients match on it.
    pub fn invalid(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidRequest(detail(code, message))
    }

    /// What the request names does not exist (404).
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::NotFound(detail(code, message))
    }

    /// The client may not have this (403).
    pub fn denied(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Denied(detail(code, message))
    }

    /// Something needed is down or full, and a later try may succeed (503).
    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Unavailable(detail(code, message))
    }

    /// Something needed did not answer in time (504).
    pub fn timed_out(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::TimedOut(detail(code, message))
    }

    /// The pipeline or its configuration is at fault (500).
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed(detail(code, message))
    }
}

fn detail(code: impl Into<String>, message: impl Into<String>) -> Detail {
    Detail { code: code.into(), message: message.into() }
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::UnknownModel(model) => {
                Self::failed("unknown-model", format!("there is no model '{model}'"))
            }
            EmbedError::TooLong(tokens) => Self::invalid(
                "text-too-long",
                format!("the text has {tokens} tokens, which is more than the model takes"),
            ),
            EmbedError::Overloaded => {
                Self::unavailable("overloaded", "too many texts wait for the model; try again")
            }
            EmbedError::TimedOut => {
                Self::timed_out("timed-out", "the model did not answer in time")
            }
            EmbedError::Failed(reason) => Self::failed("failed", reason),
        }
    }
}

impl From<VectorError> for Failure {
    fn from(error: VectorError) -> Self {
        match error {
            VectorError::UnknownCollection(name) => {
                Self::not_found("unknown-collection", format!("there is no collection '{name}'"))
            }
            VectorError::InvalidQuery(reason) => Self::invalid("invalid-query", reason),
            VectorError::Unavailable(reason) => Self::unavailable("unavailable", reason),
            VectorError::TimedOut => Self::timed_out("timed-out", "the search did not end in time"),
            VectorError::Failed(reason) => Self::failed("failed", reason),
        }
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::UnknownCollection(name) => {
                Self::not_found("unknown-collection", format!("there is no collection '{name}'"))
            }
            DocumentError::Invalid(reason) => Self::invalid("invalid-document", reason),
            DocumentError::QuotaExceeded => {
                Self::denied("quota-exceeded", "the quota of documents is used up")
            }
            DocumentError::Unavailable(reason) => Self::unavailable("unavailable", reason),
            DocumentError::TimedOut => {
                Self::timed_out("timed-out", "the write was not acknowledged in time")
            }
        }
    }
}
