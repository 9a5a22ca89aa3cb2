//! Checks the answer of a pipeline: a guest's status and headers are untrusted input.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use thiserror::Error;

/// The most headers that a guest may set in one answer.
const MAX_HEADERS: usize = 32;
/// The most bytes of their names and values together.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// What the operator allows the answers of a pipeline to do in a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// To be documents that a browser runs: HTML, XML, SVG and scripts.
    pub(super) active_content: bool,
    /// To redirect: a status from 300 to 399, and the header `Location`.
    pub(super) redirects: bool,
}

impl Allowed {
    /// Differs between any two that allow different things.
    pub(super) fn fingerprint(self) -> &'static str {
        match (self.active_content, self.redirects) {
            (false, false) => "",
            (true, false) => "active-content",
            (false, true) => "redirects",
            (true, true) => "active-content redirects",
        }
    }
}

/// The status and the headers that a guest answers with.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// A pipeline's answer as a client gets it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The content type.
    pub content_type: HeaderValue,
    /// The other headers that the guest set, all of which it may set.
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
    /// It redirects, which is not allowed.
    #[error(
        "the status {0} redirects, which the pipeline may not: `redirects = true` in its \
         configuration allows it"
    )]
    Redirect(u16),
    /// The content type is empty or not a valid header value.
    #[error("the content type is not a valid header value")]
    ContentType,
    /// A browser would run it, which is not allowed.
    #[error(
        "browsers run documents of the type '{0}', which the pipeline may not answer with: \
         `active_content = true` in its configuration allows it"
    )]
    ActiveContent(String),
    /// A header is malformed or reserved for the host, or the headers exceed a limit.
    #[error("the header '{0}' is not allowed: {1}")]
    Header(String, &'static str),
}

/// Checks the status and headers of a guest's response, and combines them with `body`.
pub(super) fn check(response: &Head, allowed: Allowed, body: Bytes) -> Result<Answer, AnswerError> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or(AnswerError::Status(response.status))?;
    if status.is_redirection() && !allowed.redirects {
        return Err(AnswerError::Redirect(response.status));
    }
    let content_type = match response.content_type.as_str() {
        // The common case: a static value is cloned without reference counting.
        "application/json" => HeaderValue::from_static("application/json"),
        other if is_active(other) && !allowed.active_content => {
            return Err(AnswerError::ActiveContent(other.escape_debug().to_string()));
        }
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
    let headers = response.headers.iter().map(|(name, value)| header(name, value, allowed));
    Ok(Answer { status, content_type, headers: headers.collect::<Result<_, _>>()?, body })
}

fn header(
    name: &str,
    value: &[u8],
    allowed: Allowed,
) -> Result<(HeaderName, HeaderValue), AnswerError> {
    let refused = |reason| AnswerError::Header(name.to_owned(), reason);
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("not a valid header name"))?;
    if !is_allowed(parsed.as_str(), allowed) {
        return Err(refused("it is neither custom (X-…) nor one of those that docs/http.md lists"));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| refused("not a valid header value"))?;
    Ok((parsed, value))
}

/// Whether a guest may set the header: an allow-list, since a new header of a browser or a proxy should
/// not become a right of plugins. `Set-Cookie` is not on it because an answer may be shared between
/// clients.
fn is_allowed(name: &str, allowed: Allowed) -> bool {
    const ALLOWED: [&str; 7] = [
        "content-disposition",
        "content-language",
        "deprecation",
        "last-modified",
        "link",
        "retry-after",
        "sunset",
    ];
    // Those that mean something to browsers and proxies, or are the host's.
    const NOT_CUSTOM: [&str; 13] = [
        "x-accel-",
        "x-content-",
        "x-dns-",
        "x-download-",
        "x-forwarded-",
        "x-frame-",
        "x-http-method",
        "x-permitted-",
        "x-real-ip",
        "x-request-id",
        "x-response-time",
        "x-sendfile",
        "x-xss-",
    ];
    let is_custom =
        || name.starts_with("x-") && !NOT_CUSTOM.iter().any(|reserved| name.starts_with(reserved));
    ALLOWED.contains(&name) || is_custom() || (name == "location" && allowed.redirects)
}

/// Whether a browser may run what a document of this type contains, or take it for a script. SVG is
/// `image/svg+xml`.
fn is_active(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["html", "xml", "script"].iter().any(|active| essence.contains(active))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_type(content_type: &str, allowed: Allowed) -> Result<Answer, AnswerError> {
        check(&response(200, content_type, &[]), allowed, Bytes::new())
    }

    fn response(status: u16, content_type: &str, headers: &[(&str, &str)]) -> Head {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Head {
            status,
            content_type: content_type.to_owned(),
            headers: headers.iter().map(header).collect(),
        }
    }

    #[test]
    fn documents_that_a_browser_runs_need_to_be_allowed() {
        let active = Allowed { active_content: true, ..Allowed::default() };
        for (content_type, is_active) in [
            ("application/json", false),
            ("text/plain; charset=utf-8", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/xhtml+xml", true),
            ("image/svg+xml", true),
            ("text/xml", true),
            ("text/javascript", true),
            ("application/ecmascript", true),
        ] {
            let refused = with_type(content_type, Allowed::default()).is_err();
            assert_eq!(refused, is_active, "{content_type}");
            assert!(with_type(content_type, active).is_ok(), "{content_type}");
        }
    }

    #[test]
    fn redirects_need_to_be_allowed() {
        let redirects = Allowed { redirects: true, ..Allowed::default() };
        let to = [("location", "https://example.com/")];
        for (status, headers) in [(302, &to[..]), (200, &to), (308, &[])] {
            let response = response(status, "text/plain", headers);
            assert!(check(&response, Allowed::default(), Bytes::new()).is_err(), "{status}");
            assert!(check(&response, redirects, Bytes::new()).is_ok(), "{status}");
        }
    }

    #[test]
    fn only_headers_that_are_known_to_be_harmless_are_allowed() {
        for (name, allowed) in [
            ("x-mine", true),
            ("Retry-After", true),
            ("content-disposition", true),
            ("set-cookie", false),
            ("refresh", false),
            ("content-security-policy", false),
            ("x-frame-options", false),
            ("x-content-type-options", false),
            ("x-accel-redirect", false),
            ("access-control-allow-origin", false),
            ("weir-position", false),
            ("something-new", false),
        ] {
            let response = response(200, "text/plain", &[(name, "1")]);
            let checked = check(&response, Allowed::default(), Bytes::new());
            assert_eq!(checked.is_ok(), allowed, "{name}");
        }
    }
}
