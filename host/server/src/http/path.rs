//! Names and ids in paths: decoded exactly once, strictly, and validated.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use http::request::Parts;
use weir_core::name::{DocumentId, Name};

use super::problem::{Problem, codes};

/// The collection of `/v1/collections/{collection}…`.
pub struct CollectionPath(pub Name);

/// The collection and the document of `/v1/collections/{collection}/documents/{id}`.
pub struct DocumentPath(pub Name, pub DocumentId);

impl<S: Sync> FromRequestParts<S> for CollectionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        name("collection", segment(parts, 3)).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for DocumentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let collection = name("collection", segment(parts, 3))?;
        let id = decode(segment(parts, 5))?;
        let id = DocumentId::new(&id)
            .map_err(|error| Problem::new(codes::INVALID_NAME, format!("{error}.")))?;
        Ok(Self(collection, id))
    }
}

/// The segment after the `n`th slash, still encoded. axum's extractor is not used because it
/// decodes leniently.
fn segment(parts: &Parts, n: usize) -> &str {
    parts.uri.path().split('/').nth(n).unwrap_or_default()
}

/// The pipeline's name in the rest of a path after `/v1/pipelines/`.
///
/// # Errors
/// `None` if no such route exists because the rest is empty or has more than one segment;
/// otherwise those of [`name`].
pub(super) fn pipeline(segment: &str) -> Result<Name, Option<Problem>> {
    if segment.is_empty() || segment.contains('/') {
        return Err(None);
    }
    name("pipeline", segment).map_err(Some)
}

/// The name that `segment` encodes. `of` says what kind of thing it names.
///
/// # Errors
/// 400 for an invalid percent-encoding or name. No name contains `/`, encoded or not, and
/// `..` is not a name.
pub fn name(of: &str, segment: &str) -> Result<Name, Problem> {
    let text = decode(segment)?;
    Name::new(&text).map_err(|error| {
        let text = text.escape_debug();
        Problem::new(codes::INVALID_NAME, format!("'{text}' is not a valid {of} name: {error}."))
    })
}

/// Percent-decodes `segment`. Refuses a `%` without two hex digits, and what is not UTF-8.
fn decode(segment: &str) -> Result<Cow<'_, str>, Problem> {
    if !segment.contains('%') {
        return Ok(segment.into());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, after)| {
            rest = after;
            hex_byte(digits)
        });
        bytes.push(digits.ok_or_else(|| {
            let detail = "In a path, '%' must be followed by two hexadecimal digits.";
            Problem::new(codes::INVALID_PATH, detail)
        })?);
    }
    String::from_utf8(bytes)
        .map(Cow::from)
        .map_err(|_| Problem::new(codes::INVALID_PATH, "The path is not UTF-8 when decoded."))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once_and_validated() {
        for (segment, expected) in [
            ("search", Ok("search")),
            ("se%61rch", Ok("search")),
            ("a%2fb", Err("invalid-name")),
            ("a%2Fb", Err("invalid-name")),
            ("..", Err("invalid-name")),
            ("%2e%2e", Err("invalid-name")),
            ("a%2561", Err("invalid-name")),
            ("Search", Err("invalid-name")),
            ("a%", Err("invalid-path")),
            ("a%2", Err("invalid-path")),
            ("a%zz", Err("invalid-path")),
            ("a%+1", Err("invalid-path")),
            ("%ff", Err("invalid-path")),
        ] {
            let got = name("pipeline", segment);
            let got = got.as_ref().map(Name::as_str).map_err(Problem::code);
            assert_eq!(got, expected, "{segment}");
        }
    }

    #[test]
    fn only_a_documents_id_may_hold_a_slash() {
        assert_eq!(decode("a%2Fb%20c").as_deref().ok(), Some("a/b c"));
    }
}
