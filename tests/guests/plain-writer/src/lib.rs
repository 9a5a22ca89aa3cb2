//! Writes without `async func`. It is a writing pipeline, like one that imports `writer`.
//!
//! For the body `{"collection", "put": [TEXT…], "delete": [ID…]}` it puts each text under the id
//! `d0`, `d1`…, then deletes the ids in one call, and answers the position of each write,
//! `{"put", "deleted"}`, or null for what the body does not contain.

use serde_json::{Value, json};

use bindings::exports::weir::pipeline::plain_handler::Guest;
use bindings::weir::documents::plain_writer::{delete, put};
use bindings::weir::documents::types::{Document, DocumentError};
use bindings::weir::pipeline::types::{Body, Detail, Failure, Request, Response};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "plain-writer", generate_all });
}

struct PlainWriter;

impl Guest for PlainWriter {
    fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = serde_json::from_slice(&request.body()).unwrap_or_default();
        let collection = body["collection"].as_str().unwrap_or_default();
        let list = |name: &str| -> Option<Vec<String>> {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Some(body[name].as_array()?.iter().map(text).collect())
        };
        let mut put_at = None;
        if let Some(texts) = list("put") {
            let document =
                |(number, text)| Document { id: format!("d{number}"), text, metadata: None };
            let documents: Vec<_> = texts.into_iter().enumerate().map(document).collect();
            put_at = Some(put(collection, &documents).map_err(failure)?);
        }
        let mut deleted_at = None;
        if let Some(ids) = list("delete") {
            deleted_at = Some(delete(collection, &ids).map_err(failure)?);
        }
        let answer = json!({ "put": put_at, "deleted": deleted_at }).to_string();
        Ok(Response {
            status: 200,
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
            body: Body::new(answer.as_bytes()),
        })
    }
}

fn failure(error: DocumentError) -> Failure {
    let detail = |code: &str, message| Detail { code: code.to_owned(), message };
    match error {
        DocumentError::UnknownCollection(name) => {
            Failure::NotFound(detail("unknown-collection", format!("there is no '{name}'")))
        }
        DocumentError::Denied(name) => {
            Failure::Denied(detail("collection-not-granted", format!("'{name}' is not granted")))
        }
        DocumentError::Invalid(reason) => {
            Failure::InvalidRequest(detail("invalid-document", reason))
        }
        error => Failure::Failed(detail("document-error", format!("{error:?}"))),
    }
}

bindings::export!(PlainWriter with_types_in bindings);
