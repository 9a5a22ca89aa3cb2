//! Checks the answer of a pipeline: a guest's status and headers are untrusted input.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use thiserror::Error;
use weir_bindings::pipeline::weir::pipeline::types as wit;

/// The most headers that a guest may set in one answer.
const MAX_HEADERS: usize = 32;
/// The most bytes of their names and values together.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// A pipeline's answer as a client gets it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The content type.
    pub content_type: HeaderValue,
    /// The other headers that the guest set. None is reserved for the host.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// Why a guest's answer is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The status is not 200 to 599.
    #[error("the status {0} is not one of 200 to 599")]
    Status(u16),
    /// The content type is empty or not a valid header value.
    #[error("the content type is not a valid header value")]
    ContentType,
    /// A header is malformed or reserved for the host, or the headers exceed a limit.
    #[error("the header '{0}' is not allowed: {1}")]
    Header(String, &'static str),
}

/// Checks the status and headers of a guest's response, and combines them with `body`.
pub(super) fn check(response: &wit::Response, body: Bytes) -> Result<Answer, AnswerError> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or(AnswerError::Status(response.status))?;
    let content_type = match response.content_type.as_str() {
        // The common case: a static value is cloned without reference counting.
        "application/json" => HeaderValue::from_static("application/json"),
        other => HeaderValue::from_str(other)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(AnswerError::ContentType)?,
    };
    let bytes: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if response.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(AnswerError::Header(
            "*".to_owned(),
            "there are too many headers, or they are too large",
        ));
    }
    let headers = response.headers.iter().map(|(name, value)| header(name, value));
    Ok(Answer { status, content_type, headers: headers.collect::<Result<_, _>>()?, body })
}

fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), AnswerError> {
    let refused = |reason| AnswerError::Header(name.to_owned(), reason);
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("not a valid header name"))?;
    if is_hosts_own(parsed.as_str()) {
        return Err(refused("the host sets it, or it belongs to the connection"));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| refused("not a valid header value"))?;
    Ok((parsed, value))
}

/// Whether a header concerns the connection, a cache or proxy, or the client's identity.
/// `Set-Cookie` is one of these, because an answer may be shared between clients.
fn is_hosts_own(name: &str) -> bool {
    const OWN: [&str; 22] = [
        "age",
        "alt-svc",
        "cache-control",
        "cache-status",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "server",
        "server-timing",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "x-request-id",
    ];
    OWN.contains(&name)
        || name == "x-response-time"
        || name.ends_with("cdn-cache-control")
        || [
            "weir-",
            "proxy-",
            "access-control-",
            "surrogate-",
            "x-accel-",
            "x-sendfile",
            "clear-site-data",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
