//! What a pipeline made of a request, checked: a guest's status, headers and body are as
//! hostile as any input.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;
use weir_bindings::pipeline::weir::pipeline::types as wit;
use weir_core::json::{JsonLimits, canonicalize};

use crate::capability::collections::{FoundHit, FoundHits};

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
    /// The body is over the limit.
    #[error("the answer has {bytes} bytes, and {max_bytes} are allowed")]
    TooLarge {
        /// The answer's size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A further member of a hits body is not JSON, or is called `results`, or is there twice.
    #[error("the member '{0}' is not allowed: {1}")]
    Member(String, String),
}

/// Further members of one hits body.
const MAX_MEMBERS: usize = 64;

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

/// Checks the size of `body`.
pub(super) fn plain_body(body: Vec<u8>, max_bytes: usize) -> Result<Bytes, AnswerError> {
    let bytes = body.len();
    if bytes > max_bytes {
        return Err(AnswerError::TooLarge { bytes, max_bytes });
    }
    Ok(Bytes::from(body))
}

/// One element of `results`.
#[derive(Serialize)]
struct ResultEntry<'a> {
    document_id: &'a str,
    score: f32,
    text: &'a str,
    start: u32,
    end: u32,
    metadata: &'a RawValue,
}

/// Writes `{"results":[…], members…}` from the host's memory.
///
/// # Errors
/// A member that is not JSON, is `results` or is there twice; a body over the limit.
pub fn hits_body(
    hits: &FoundHits,
    members: &[(String, String)],
    max_bytes: usize,
) -> Result<Bytes, AnswerError> {
    if members.len() > MAX_MEMBERS {
        let reason = format!("there are {}; at most {MAX_MEMBERS} are allowed", members.len());
        return Err(AnswerError::Member("*".to_owned(), reason));
    }
    let mut body = Vec::with_capacity(512 * (1 + hits.0.len()));
    body.extend_from_slice(b"{\"results\":[");
    for (index, found) in hits.0.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_entry(found, &mut body)?;
        if body.len() > max_bytes {
            break;
        }
    }
    body.push(b']');
    for (index, (name, value)) in members.iter().enumerate() {
        if name == "results" || members[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(AnswerError::Member(name.clone(), "it is there already".to_owned()));
        }
        write_member(name, value, &mut body)?;
    }
    body.push(b'}');
    plain_body(body, max_bytes)
}

fn write_entry(found: &FoundHit, body: &mut Vec<u8>) -> Result<(), AnswerError> {
    let document_id = found.hit.document.as_str();
    let invalid = |error: serde_json::Error| {
        AnswerError::Member(format!("metadata of {document_id}"), error.to_string())
    };
    let entry = ResultEntry {
        document_id,
        score: found.hit.score,
        text: &found.text.text,
        start: found.hit.start,
        end: found.hit.end,
        metadata: serde_json::from_str(&found.text.metadata).map_err(invalid)?,
    };
    serde_json::to_writer(body, &entry).map_err(invalid)
}

fn write_member(name: &str, value: &str, body: &mut Vec<u8>) -> Result<(), AnswerError> {
    let invalid = |reason: String| AnswerError::Member(name.to_owned(), reason);
    let value =
        canonicalize(value, JsonLimits::default()).map_err(|error| invalid(error.to_string()))?;
    body.push(b',');
    serde_json::to_writer(&mut *body, name).map_err(|error| invalid(error.to_string()))?;
    body.push(b':');
    body.extend_from_slice(value.text());
    Ok(())
}
