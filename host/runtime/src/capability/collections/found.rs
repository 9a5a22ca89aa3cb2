//! Hits, and their JSON form: `{"results": […], members…}`.

use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;
use weir_core::json::{JsonLimits, canonicalize};
use weir_search as backend;

/// The most members of one body, in addition to `results`.
const MAX_MEMBERS: usize = 64;

/// Ranked hits behind a guest's handle.
#[derive(Clone, Debug, Default)]
pub struct FoundHits(pub Vec<backend::Hit>);

/// Why hits cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResultsError {
    /// A member is not JSON, is named `results` or is given twice.
    #[error("the member '{0}' is not allowed: {1}")]
    Member(String, String),
    /// Too many members.
    #[error("there are {0} members; at most {MAX_MEMBERS} are allowed")]
    Members(usize),
    /// A document's metadata is not JSON, which is a bug in the store.
    #[error("the metadata of '{0}' is not JSON: {1}")]
    Metadata(String, String),
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

/// Writes the hits and the members, whose values are JSON texts. If the hits exceed `max_bytes`, it
/// stops early and returns incomplete JSON: such a body is too large anyway.
///
/// # Errors
/// A member is not allowed, there are too many, or a document's metadata is not JSON.
pub fn write_results(
    hits: &FoundHits,
    members: &[(String, String)],
    max_bytes: usize,
) -> Result<Vec<u8>, ResultsError> {
    if members.len() > MAX_MEMBERS {
        return Err(ResultsError::Members(members.len()));
    }
    let mut body = Vec::with_capacity(512 * (1 + hits.0.len()));
    body.extend_from_slice(b"{\"results\":[");
    for (index, hit) in hits.0.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_entry(hit, &mut body)?;
        if body.len() > max_bytes {
            return Ok(body);
        }
    }
    body.push(b']');
    for (index, (name, value)) in members.iter().enumerate() {
        if name == "results" || members[..index].iter().any(|(earlier, _)| earlier == name) {
            let reason = "another member has this name".to_owned();
            return Err(ResultsError::Member(name.clone(), reason));
        }
        write_member(name, value, &mut body)?;
    }
    body.push(b'}');
    Ok(body)
}

fn write_entry(hit: &backend::Hit, body: &mut Vec<u8>) -> Result<(), ResultsError> {
    let document_id = hit.document.as_str();
    let invalid = |error: serde_json::Error| {
        ResultsError::Metadata(document_id.to_owned(), error.to_string())
    };
    let entry = ResultEntry {
        document_id,
        score: hit.score,
        text: hit.text(),
        start: hit.start,
        end: hit.end,
        metadata: serde_json::from_str(&hit.content.metadata).map_err(invalid)?,
    };
    serde_json::to_writer(body, &entry).map_err(invalid)
}

fn write_member(name: &str, value: &str, body: &mut Vec<u8>) -> Result<(), ResultsError> {
    let invalid = |reason: String| ResultsError::Member(name.to_owned(), reason);
    let value =
        canonicalize(value, JsonLimits::default()).map_err(|error| invalid(error.to_string()))?;
    body.push(b',');
    serde_json::to_writer(&mut *body, name).map_err(|error| invalid(error.to_string()))?;
    body.push(b':');
    body.extend_from_slice(value.text());
    Ok(())
}
