//! Errors as clients see them: RFC 9457's `application/problem+json`.
//!
//! [`codes`] lists all stable codes; [`Problem`] is one occurrence. The text for the client
//! (`detail`) and the text for the log (`log`) are separate fields. Out of scope: the headers
//! that every response carries (`respond`), and the conversions of other errors into problems,
//! which are next to the handlers that need them.

use std::borrow::Cow;
use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// A kind of problem, with its status, its stable code and its title.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The status of the response.
    pub status: StatusCode,
    /// The stable name, in kebab case, that clients match on.
    pub name: &'static str,
    /// A short description, the same for every occurrence.
    pub title: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $status:ident $name:literal $title:literal;)*) => {
        /// All codes that the host itself uses. A code never changes its meaning. Pipelines
        /// add their own codes, with the statuses of WIT's `failure`.
        pub mod codes {
            use super::{Code, StatusCode};
            $(
                $(#[$doc])*
                #[doc = concat!("`", $name, "`: ", $title, ".")]
                pub const $constant: &Code =
                    &Code { status: StatusCode::$status, name: $name, title: $title };
            )*
            /// All codes.
            pub const ALL: &[&Code] = &[$($constant),*];
        }
    };
}

codes! {
    INVALID_REQUEST = BAD_REQUEST "invalid-request" "The request is not valid";
    INVALID_NAME = BAD_REQUEST "invalid-name" "A name is not valid";
    INVALID_PATH = BAD_REQUEST "invalid-path" "The path is not valid";
    INVALID_HEADER = BAD_REQUEST "invalid-header" "A header is not valid";
    INVALID_BODY = BAD_REQUEST "invalid-body" "The body could not be read";
    INVALID_JSON = BAD_REQUEST "invalid-json" "The request is not valid JSON";
    DUPLICATE_KEY = BAD_REQUEST "duplicate-key" "An object has the same key twice";
    TOO_DEEP = BAD_REQUEST "too-deep" "The JSON is nested too deeply";
    INVALID_UTF8 = BAD_REQUEST "invalid-utf8" "The request is not valid UTF-8";
    NUL_IN_TEXT = BAD_REQUEST "nul-in-text" "A text contains the character U+0000";
    INVALID_DOCUMENT = BAD_REQUEST "invalid-document" "A document is not valid";
    EMPTY_INPUT = BAD_REQUEST "empty-input" "The request has no input";
    TEXT_TOO_LONG = BAD_REQUEST "text-too-long" "A text is longer than the model's window";
    NOT_FOUND = NOT_FOUND "not-found" "There is nothing at this path";
    UNKNOWN_PIPELINE = NOT_FOUND "unknown-pipeline" "There is no such pipeline";
    UNKNOWN_COLLECTION = NOT_FOUND "unknown-collection" "There is no such collection";
    UNKNOWN_DOCUMENT = NOT_FOUND "unknown-document" "There is no such document";
    UNKNOWN_PLUGIN = NOT_FOUND "unknown-plugin" "There is no such plugin";
    UNKNOWN_DEPLOYMENT = NOT_FOUND "unknown-deployment" "Nothing is deployed under this name";
    UNKNOWN_TOKEN = NOT_FOUND "unknown-token" "There is no such token";
    UNKNOWN_SHADOW = NOT_FOUND "unknown-shadow" "No candidate is tried in shadow";
    UNKNOWN_MODEL = NOT_FOUND "unknown-model" "There is no such model";
    MISSING_API_KEY = UNAUTHORIZED "missing-api-key" "An API key is required";
    INVALID_API_KEY = UNAUTHORIZED "invalid-api-key" "The API key is not valid here";
    INVALID_ADMIN_TOKEN = UNAUTHORIZED "invalid-admin-token" "A token of an administrator is required";
    TOKEN_SCOPE = FORBIDDEN "token-scope" "The token does not allow this";
    QUOTA_EXCEEDED = FORBIDDEN "quota-exceeded" "The tenant's quota is used up";
    LOCAL_ONLY = FORBIDDEN "local-only" "Only this machine may ask";
    ADMIN_DISABLED = FORBIDDEN "admin-disabled" "The server has no administrators";
    ORIGIN_NOT_ALLOWED = FORBIDDEN "origin-not-allowed" "Pages of this origin may not call the pipeline";
    UNKNOWN_HOST = MISDIRECTED_REQUEST "unknown-host" "The server does not answer to this name";
    UNKNOWN_TENANT = NOT_FOUND "unknown-tenant" "The request does not identify a tenant";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method-not-allowed" "The method is not allowed here";
    BODY_TIMEOUT = REQUEST_TIMEOUT "body-timeout" "The body took too long to arrive";
    TOO_LARGE = PAYLOAD_TOO_LARGE "too-large" "The body is too large";
    DOCUMENT_TOO_LARGE = PAYLOAD_TOO_LARGE "document-too-large" "A document is too large";
    TOO_MANY_DOCUMENTS = PAYLOAD_TOO_LARGE "too-many-documents" "The request has too many documents";
    UNKNOWN_POSITION = CONFLICT "unknown-position" "The position was not given out";
    TOO_MANY_COLLECTIONS = CONFLICT "too-many-collections" "The tenant has too many collections";
    IN_USE = CONFLICT "in-use" "Something else needs it as it is";
    TOO_MANY_TOKENS = CONFLICT "too-many-tokens" "There are too many tokens";
    NOTHING_BEFORE = CONFLICT "nothing-before" "Nothing else was deployed before";
    REVISION_CHANGED = PRECONDITION_FAILED "revision-changed" "Something else is deployed than was expected";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The content type is not supported";
    UNSUPPORTED_ENCODING = UNSUPPORTED_MEDIA_TYPE "unsupported-encoding" "The content encoding is not supported";
    INVALID_PLUGIN = UNPROCESSABLE_ENTITY "invalid-plugin" "The plugin cannot be used";
    SAMPLE_FAILED = UNPROCESSABLE_ENTITY "sample-failed" "The plugin cannot handle its samples";
    NOT_ALLOWED = UNPROCESSABLE_ENTITY "not-allowed" "What is asked for is wrong or not allowed";
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key belongs to another request";
    RATE_LIMITED = TOO_MANY_REQUESTS "rate-limited" "Requests are sent too fast";
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS "too-many-requests" "The tenant has too many requests in flight";
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "The server failed";
    PIPELINE_TRAPPED = INTERNAL_SERVER_ERROR "pipeline-trapped" "The pipeline trapped";
    STACK_OVERFLOW = INTERNAL_SERVER_ERROR "stack-overflow" "The pipeline's stack overflowed";
    INVALID_ANSWER = INTERNAL_SERVER_ERROR "invalid-answer" "The pipeline's answer is not valid";
    OVERLOADED = SERVICE_UNAVAILABLE "overloaded" "The server is overloaded";
    BACKLOG_FULL = SERVICE_UNAVAILABLE "backlog-full" "Too many changes wait for the search index";
    POSITION_NOT_REACHED = SERVICE_UNAVAILABLE "position-not-reached" "The position is not reached yet";
    POSITION_NOT_AVAILABLE = SERVICE_UNAVAILABLE "position-not-available" "There is no common position yet";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "A backend is not available";
    DEADLINE_EXCEEDED = GATEWAY_TIMEOUT "deadline-exceeded" "The request took longer than its deadline";
    NOT_CACHED = GATEWAY_TIMEOUT "not-cached" "The cache has no answer";
    ANSWER_TOO_LARGE = INSUFFICIENT_STORAGE "answer-too-large" "The pipeline's answer is too large";
    MEMORY_EXCEEDED = INSUFFICIENT_STORAGE "memory-exceeded" "The pipeline exceeded its memory limit";
}

/// One occurrence of a problem. As a response it is rendered by `respond`, which knows the
/// request's id.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    detail: Cow<'static, str>,
    log: Option<String>,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem of one of the host's kinds. `detail` says what is wrong and how to correct it.
    pub fn new(code: &Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: code.status,
            code: Cow::Borrowed(code.name),
            title: code.title,
            detail: detail.into(),
            log: None,
            retry_after_seconds: None,
        }
    }

    /// A problem that a pipeline returned. The host chooses the status; the code and the message
    /// come from the pipeline.
    #[must_use]
    pub fn of_pipeline(status: StatusCode, code: String, message: String) -> Self {
        Self {
            status,
            code: Cow::Owned(code),
            title: "The pipeline refused or failed",
            detail: Cow::Owned(message),
            log: None,
            retry_after_seconds: None,
        }
    }

    /// A failure of the server itself. `error` goes to the log, not to the client.
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new(
            codes::INTERNAL,
            "The server failed. Its log has the details under this request's id.",
        )
        .logged(error)
    }

    /// Adds a text that only goes to the log.
    #[must_use]
    pub fn logged(mut self, error: impl fmt::Display) -> Self {
        self.log = Some(error.to_string());
        self
    }

    /// Prefixes the detail with the place in the body: `place: detail`.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.detail = Cow::Owned(format!("{place}: {}", self.detail));
        self
    }

    /// Tells the client when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The explanation for the client.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The text for the log.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// The problem document for the client.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let document = json!({
            "type": format!("urn:weir:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        });
        document.to_string().into_bytes()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

/// Creates a response that carries the problem as an extension; `respond` writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut names: Vec<_> = codes::ALL.iter().map(|code| code.name).collect();
        for name in &names {
            let kebab = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(name.bytes().all(kebab), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), codes::ALL.len());
    }

    #[test]
    fn the_log_is_not_the_clients() {
        let problem = Problem::internal("password=hunter2");
        let body = String::from_utf8(problem.body("r-1")).unwrap_or_default();
        assert!(!body.contains("hunter2"));
        assert!(body.contains(r#""request_id":"r-1""#), "{body}");
        assert_eq!(problem.log(), Some("password=hunter2"));
    }
}
