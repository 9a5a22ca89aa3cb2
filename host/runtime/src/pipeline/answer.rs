//! What a pipeline made of a request, checked: a guest's status, headers and body are as
//! hostile as any input.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use thiserror::Error;
use weir_bindings::pipeline::weir::pipeline::types as wit;

/// Headers that a guest may set in one answer.
const MAX_HEADERS: usize = 32;
/// Their names and values, added up.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// What a client gets of a pipeline.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The content type.
    pub content_type: HeaderValue,
    /// The guest's further headers: none that the host sets itself.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// Why what a guest answered is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The status is not 200 to 599.
    #[error("the status {0} is not one of 200 to 599")]
    Status(u16),
    /// The content type is no header value.
    #[error("the content type is not a header's value")]
    ContentType,
    /// A header is malformed, too much, or the host's own.
    #[error("the header '{0}' is not allowed: {1}")]
    Header(String, &'static str),
}

/// Checks the head of a guest's response, and puts `body` under it.
pub(super) fn check(response: &wit::Response, body: Bytes) -> Result<Answer, AnswerError> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or(AnswerError::Status(response.status))?;
    let content_type = match response.content_type.as_str() {
        // Most are: a static value is copied without counting its owners.
        "application/json" => HeaderValue::from_static("application/json"),
        other => HeaderValue::from_str(other)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(AnswerError::ContentType)?,
    };
    let bytes: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if response.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(AnswerError::Header("*".to_owned(), "too many headers or bytes"));
    }
    let headers = response.headers.iter().map(|(name, value)| header(name, value));
    Ok(Answer { status, content_type, headers: headers.collect::<Result<_, _>>()?, body })
}

fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), AnswerError> {
    let refused = |reason| AnswerError::Header(name.to_owned(), reason);
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("not a header's name"))?;
    if is_hosts_own(parsed.as_str()) {
        return Err(refused("the host sets it, or it belongs to the connection"));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| refused("not a header's value"))?;
    Ok((parsed, value))
}

/// Headers that speak of the connection, of a cache or proxy, or of who the client is. `Set-Cookie`
/// is one: an answer may be shared.
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
