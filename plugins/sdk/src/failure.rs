//! Failures: made by hand, and from the errors of host calls.

use crate::bindings::pipeline::weir::pipeline::types as wit;
use crate::collections::VectorError;
use crate::documents::DocumentError;
use crate::embedding::EmbedError;

/// Why there is no answer: a kind, which is the HTTP status, a stable code and a message. The
/// client receives all three as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    code: String,
    message: String,
}

/// What kind of failure it is. Each kind has its own HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// 400: the request is wrong.
    InvalidRequest,
    /// 404: what the request asks for does not exist.
    NotFound,
    /// 403: the client, or this pipeline, may not do this.
    Denied,
    /// 503: something that the pipeline needs is unavailable. A later request may succeed.
    Unavailable,
    /// 504: something that the pipeline needs took too long.
    TimedOut,
    /// 500: the pipeline or its settings are at fault.
    Failed,
}

impl Failure {
    /// A failure of this kind. `code` is `[a-z-]{1,64}` and stable: clients match on it.
    pub fn new(kind: FailureKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into() }
    }

    /// 400: the request is wrong.
    pub fn invalid_request(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, code, message)
    }

    /// 404: what the request asks for does not exist.
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, code, message)
    }

    /// 403: the client, or this pipeline, may not do this.
    pub fn denied(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Denied, code, message)
    }

    /// 503: something that the pipeline needs is unavailable. A later request may succeed.
    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, code, message)
    }

    /// 504: something that the pipeline needs took too long.
    pub fn timed_out(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::TimedOut, code, message)
    }

    /// 500: the pipeline or its settings are at fault.
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, code, message)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_wit(self) -> wit::Failure {
        let detail = wit::Detail { code: self.code, message: self.message };
        match self.kind {
            FailureKind::InvalidRequest => wit::Failure::InvalidRequest(detail),
            FailureKind::NotFound => wit::Failure::NotFound(detail),
            FailureKind::Denied => wit::Failure::Denied(detail),
            FailureKind::Unavailable => wit::Failure::Unavailable(detail),
            FailureKind::TimedOut => wit::Failure::TimedOut(detail),
            FailureKind::Failed => wit::Failure::Failed(detail),
        }
    }

    fn quota_exceeded() -> Self {
        Self::failed("quota-exceeded", "the request has passed more bytes to the host than it may")
    }

    fn unknown_collection(name: &str) -> Self {
        Self::not_found("unknown-collection", format!("there is no collection '{name}'"))
    }

    fn collection_denied(name: &str) -> Self {
        Self::denied(
            "collection-not-granted",
            format!("this pipeline may not use the collection '{name}'"),
        )
    }
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::UnknownModel(model) => {
                Self::failed("unknown-model", format!("there is no model '{model}'"))
            }
            EmbedError::Denied(model) => Self::denied(
                "model-not-granted",
                format!("this pipeline may not use the model '{model}'"),
            ),
            EmbedError::Invalid(reason) => Self::failed("invalid-embedding-call", reason),
            EmbedError::TooLong { tokens, max_tokens, .. } => Self::invalid_request(
                "text-too-long",
                format!("the text has {tokens} tokens; the model takes at most {max_tokens}"),
            ),
            EmbedError::TooLarge { bytes, max_bytes, .. } => Self::invalid_request(
                "text-too-long",
                format!("the text has {bytes} bytes; the model takes at most {max_bytes}"),
            ),
            EmbedError::QuotaExceeded => Self::quota_exceeded(),
            EmbedError::Unavailable(reason) => Self::unavailable("overloaded", reason),
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
            VectorError::UnknownCollection(name) => Self::unknown_collection(&name),
            VectorError::Denied(name) => Self::collection_denied(&name),
            VectorError::Invalid(reason) => Self::invalid_request("invalid-query", reason),
            VectorError::QuotaExceeded => Self::quota_exceeded(),
            VectorError::TooCostly => Self::invalid_request(
                "query-too-costly",
                "the search takes too much work; use fewer words, or fewer conditions in its filter",
            ),
            VectorError::Unavailable(reason) => Self::unavailable("unavailable", reason),
            VectorError::TimedOut => {
                Self::timed_out("timed-out", "the search did not finish in time")
            }
            VectorError::Failed(reason) => Self::failed("failed", reason),
        }
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::UnknownCollection(name) => Self::unknown_collection(&name),
            DocumentError::Denied(name) => Self::collection_denied(&name),
            DocumentError::Invalid(reason) => Self::invalid_request("invalid-document", reason),
            DocumentError::QuotaExceeded => {
                Self::denied("quota-exceeded", "the quota of documents or bytes is used up")
            }
            DocumentError::Unavailable(reason) => Self::unavailable("unavailable", reason),
            DocumentError::TimedOut => Self::timed_out(
                "timed-out",
                "the write did not finish in time; it may or may not have happened",
            ),
            DocumentError::Failed(reason) => Self::failed("failed", reason),
        }
    }
}
