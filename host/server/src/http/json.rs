//! JSON bodies: their content type, their canonical text and their typed values.

use http::{HeaderMap, header};
use serde::Deserialize;
use weir_core::json::{JsonError, JsonLimits, canonicalize};

use super::problem::{Code, Problem, codes};

/// The deepest nesting of arrays and objects in a body.
pub const MAX_DEPTH: usize = 64;

/// The media type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// One JSON text.
    Json,
    /// One JSON text per line.
    Ndjson,
}

/// The type that `Content-Type` declares; `None` if it is another type or missing.
#[must_use]
pub fn media(headers: &HeaderMap) -> Option<Media> {
    let value = headers.get(header::CONTENT_TYPE)?;
    if value == "application/json" {
        return Some(Media::Json);
    }
    let value = value.to_str().ok()?;
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let charset = parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(
        |(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        },
    );
    let essence = essence.trim().to_ascii_lowercase();
    match essence.as_str() {
        _ if !charset => None,
        "application/json" => Some(Media::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Media::Ndjson),
        _ if essence.starts_with("application/") && essence.ends_with("+json") => Some(Media::Json),
        _ => None,
    }
}

/// Refuses a request whose content type is not JSON.
///
/// # Errors
/// 415.
pub fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    if media(headers) == Some(Media::Json) {
        return Ok(());
    }
    let detail = "Send the body as JSON in UTF-8, with 'Content-Type: application/json'.";
    Err(Problem::new(codes::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// The canonical text of `input`, a single JSON text without duplicate keys or deep nesting.
///
/// # Errors
/// 400 with the byte offset of the mistake, and 413.
pub fn canonical(input: &[u8], max_bytes: usize) -> Result<bytes::Bytes, Problem> {
    match canonicalize(input, JsonLimits { max_bytes, max_depth: MAX_DEPTH }) {
        Ok(canonical) => Ok(canonical.text().clone()),
        Err(error) => Err(Problem::from(error)),
    }
}

/// Reads canonical JSON into a `T`. `place` names the text in error messages.
///
/// # Errors
/// 400 with `code` if a member is missing, unknown or of the wrong type.
pub fn typed<'a, T: Deserialize<'a>>(
    canonical: &'a [u8],
    code: &Code,
    place: &str,
) -> Result<T, Problem> {
    serde_json::from_slice(canonical).map_err(|error| {
        // The offsets refer to the canonical text, which the client has never seen.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Problem::new(code, format!("{place}: {message}."))
    })
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let code = match error {
            JsonError::Invalid { .. } => codes::INVALID_JSON,
            JsonError::DuplicateKey { .. } => codes::DUPLICATE_KEY,
            JsonError::TooDeep { .. } => codes::TOO_DEEP,
            JsonError::TooLarge { .. } => codes::TOO_LARGE,
            JsonError::InvalidUtf8 { .. } => codes::INVALID_UTF8,
            JsonError::NulInText { .. } => codes::NUL_IN_TEXT,
        };
        Self::new(code, sentence(&error.to_string()))
    }
}

/// Turns an error's text into a sentence, with a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), characters.as_str())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn content_types() {
        for (value, expected) in [
            ("application/json", Some(Media::Json)),
            ("Application/JSON; charset=UTF-8", Some(Media::Json)),
            ("application/json; charset=\"utf-8\"", Some(Media::Json)),
            ("application/json; charset=latin1", None),
            ("application/vnd.api+json", Some(Media::Json)),
            ("application/x-ndjson", Some(Media::Ndjson)),
            ("text/plain", None),
            ("application/x-www-form-urlencoded", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(media(&headers), expected, "{value}");
        }
        assert_eq!(media(&HeaderMap::new()), None);
    }

    #[test]
    fn refusals_have_codes() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (input, code) in [
            ("{", "invalid-json"),
            (r#"{"a":1,"a":1}"#, "duplicate-key"),
            (deep.as_str(), "too-deep"),
            (r#""\u0000""#, "nul-in-text"),
            (
                r#"["0123456789".0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789,0123456789]"#,
                "too-large",
            ),
        ] {
            assert_eq!(canonical(input.as_bytes(), 140).unwrap_err().code(), code, "{input}");
        }
        assert_eq!(canonical(b"\"\xff\"", 140).unwrap_err().code(), "invalid-utf8");
    }
}
