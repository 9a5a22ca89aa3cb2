//! Parses bodies of documents, `{"documents":[…]}` or NDJSON, strictly and all or nothing.
//!
//! An error names the document by its index or by its line. Out of scope: the limits of texts
//! and metadata (`weir_runtime::tenant::documents`), which apply to every source of documents.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use weir_core::name::DocumentId;
use weir_runtime::tenant::documents::IncomingDocument;

use crate::http::json::{self, Media, sentence};
use crate::http::problem::{Problem, codes};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    documents: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    text: String,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// The documents of `body`, at least one and at most `max_documents`.
pub(super) fn documents(
    media: Media,
    body: &[u8],
    max_documents: usize,
) -> Result<Vec<IncomingDocument>, Problem> {
    let documents = match media {
        Media::Json => in_json(body, max_documents)?,
        Media::Ndjson => in_lines(body, max_documents)?,
    };
    if documents.is_empty() {
        return Err(Problem::new(codes::EMPTY_INPUT, "The request has no documents."));
    }
    Ok(documents)
}

fn in_json(body: &[u8], max_documents: usize) -> Result<Vec<IncomingDocument>, Problem> {
    let canonical = json::canonical(body, body.len())?;
    let batch: Batch<'_> = json::typed(&canonical, codes::INVALID_REQUEST, "The body")?;
    if batch.documents.len() > max_documents {
        return Err(too_many(max_documents));
    }
    let at = |(index, document): (usize, &&RawValue)| {
        one(document.get().as_bytes(), &format!("documents[{index}]"))
    };
    batch.documents.iter().enumerate().map(at).collect()
}

fn in_lines(body: &[u8], max_documents: usize) -> Result<Vec<IncomingDocument>, Problem> {
    let mut documents = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if documents.len() == max_documents {
            return Err(too_many(max_documents));
        }
        let place = format!("Line {}", index + 1);
        let canonical = json::canonical(line, line.len()).map_err(|problem| problem.at(&place))?;
        documents.push(one(&canonical, &place)?);
    }
    Ok(documents)
}

/// Parses one document from its canonical JSON text.
fn one(canonical: &[u8], place: &str) -> Result<IncomingDocument, Problem> {
    let invalid = |what: String| Problem::new(codes::INVALID_DOCUMENT, format!("{place}: {what}"));
    let given: Given<'_> = json::typed(canonical, codes::INVALID_DOCUMENT, place)?;
    let id = DocumentId::new(&given.id).map_err(|error| invalid(sentence(&error.to_string())))?;
    let metadata = given.metadata.map_or("{}", RawValue::get);
    if !metadata.starts_with('{') {
        return Err(invalid("metadata must be an object.".to_owned()));
    }
    Ok(IncomingDocument { id, text: Arc::from(given.text), metadata: Arc::from(metadata) })
}

fn too_many(max_documents: usize) -> Problem {
    let detail = format!("A request may have at most {max_documents} documents.");
    Problem::new(codes::TOO_MANY_DOCUMENTS, detail)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    fn refusal(media: Media, body: &[u8]) -> String {
        let problem = documents(media, body, 2).unwrap_err();
        format!("{} {}", problem.code(), problem.detail())
    }

    #[test]
    fn both_forms_say_the_same() {
        let json = br#"{"documents":[{"id":"a","text":"x","metadata":{"b":2,"a":1}},{"text":"","id":"b/1"}]}"#;
        let lines = b"{\"metadata\": {\"a\": 1, \"b\": 2}, \"id\":\"a\",\"text\":\"x\"}\r\n\n{\"id\":\"b/1\",\"text\":\"\"}";
        let documents_in = |media, body| documents(media, body, 2).unwrap();
        let parsed = documents_in(Media::Json, json);
        assert_eq!(parsed, documents_in(Media::Ndjson, lines));
        assert_eq!(&*parsed[0].metadata, r#"{"a":1,"b":2}"#);
        assert_eq!(&*parsed[1].metadata, "{}");
        assert_eq!(parsed[1].id.as_str(), "b/1");
    }

    #[test]
    fn refusals_name_the_document() {
        for (body, expected) in [
            ("{}", "invalid-request The body: missing field `documents`"),
            ("[]", "invalid-request The body: invalid"),
            (r#"{"documents":[]}"#, "empty-input "),
            (r#"{"documents":[],"more":1}"#, "invalid-request The body: unknown field `more`"),
            (
                r#"{"documents":[{"id":"a"}]}"#,
                "invalid-document documents[0]: missing field `text`",
            ),
            (
                r#"{"documents":[{"id":"a","text":"x"},{"text":"x"}]}"#,
                "invalid-document documents[1]: missing field `id`",
            ),
            (
                r#"{"documents":[{"id":1,"text":"x"}]}"#,
                "invalid-document documents[0]: invalid type: integer `1`",
            ),
            (
                r#"{"documents":[{"id":"","text":"x"}]}"#,
                "invalid-document documents[0]: A document's id",
            ),
            (
                r#"{"documents":[{"id":"a\n","text":"x"}]}"#,
                "invalid-document documents[0]: A document's id",
            ),
            (
                r#"{"documents":[{"id":"a","text":"x","title":"x"}]}"#,
                "invalid-document documents[0]: unknown field `title`",
            ),
            (
                r#"{"documents":[{"id":"a","text":"x","metadata":[]}]}"#,
                "invalid-document documents[0]: metadata must be an object",
            ),
            (r#"{"documents":[{"id":"a","text":"x\u0000"}]}"#, "nul-in-text "),
            (r#"{"documents":[{"id":"a","id":"b","text":"x"}]}"#, "duplicate-key "),
            (r#"{"documents":[1,2,3]}"#, "too-many-documents "),
            ("{\"documents\"", "invalid-json "),
        ] {
            let said = refusal(Media::Json, body.as_bytes());
            assert!(said.starts_with(expected), "{body}: {said}");
        }
    }

    #[test]
    fn half_bad_lines_name_the_line() {
        for (body, expected) in [
            ("{\"id\":\"a\",\"text\":\"x\"}\n\n{\"id\":\"b\"", "invalid-json Line 3: "),
            (
                "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\"}",
                "invalid-document Line 2: missing field `text`",
            ),
            ("{\"id\":\"a\",\"text\":\"x\",\"id\":\"a\"}", "duplicate-key Line 1: "),
            ("\n \n", "empty-input "),
        ] {
            let said = refusal(Media::Ndjson, body.as_bytes());
            assert!(said.starts_with(expected), "{body}: {said}");
        }
        let three = "{\"id\":\"a\",\"text\":\"x\"}\n".repeat(3);
        assert!(refusal(Media::Ndjson, three.as_bytes()).starts_with("too-many-documents"));
    }
}
