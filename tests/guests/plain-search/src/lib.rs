//! A search without `async func`, as in a JavaScript or Python pipeline.
//!
//! For the body `{"collection", "query"}` it embeds the query, searches by vector and words, and
//! has the host write the hits. With `"texts": N` it first embeds N texts in one call, and with
//! `"id"` it gets that document instead of searching.

use serde_json::Value;

use bindings::exports::weir::pipeline::plain_handler::Guest;
use bindings::weir::embedding::plain_embedder::embed;
use bindings::weir::embedding::types::EmbedError;
use bindings::weir::pipeline::types::{Detail, Failure, Request, Response};
use bindings::weir::vector::plain_collections::{get, open, search};
use bindings::weir::vector::types::{Query, Unit, VectorError};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "plain-search", generate_all });
}

struct PlainSearch;

impl Guest for PlainSearch {
    fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = serde_json::from_slice(&request.body())
            .map_err(|error| Failure::InvalidRequest(detail("invalid-body", error.to_string())))?;
        let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if let Some(count) = body["texts"].as_u64() {
            let texts: Vec<_> = (0..count).map(|number| number.to_string()).collect();
            embed(None, &texts).map_err(embed_failure)?;
        }
        let collection = open(&member("collection")).map_err(vector_failure)?;
        let hits = if body["id"].is_string() {
            get(&collection, &[member("id")])
        } else {
            let query = member("query");
            let vectors = embed(None, std::slice::from_ref(&query)).map_err(embed_failure)?;
            search(
                &collection,
                &Query {
                    nearest: vectors.first(),
                    text: Some(query),
                    filter: None,
                    minimum_score: None,
                    unit: Unit::Document,
                    limit: 10,
                    offset: 0,
                },
            )
        };
        let body = hits.and_then(|hits| hits.to_body(&[])).map_err(vector_failure)?;
        let content_type = "application/json".to_owned();
        Ok(Response { status: 200, content_type, headers: Vec::new(), body })
    }
}

fn embed_failure(error: EmbedError) -> Failure {
    match error {
        EmbedError::Invalid(reason) => Failure::Failed(detail("invalid-call", reason)),
        error => Failure::Failed(detail("embed-error", format!("{error:?}"))),
    }
}

fn vector_failure(error: VectorError) -> Failure {
    match error {
        VectorError::UnknownCollection(name) => {
            Failure::NotFound(detail("unknown-collection", format!("there is no '{name}'")))
        }
        VectorError::Denied(name) => {
            Failure::Denied(detail("collection-not-granted", format!("'{name}' is not granted")))
        }
        error => Failure::Failed(detail("vector-error", format!("{error:?}"))),
    }
}

fn detail(code: &str, message: String) -> Detail {
    Detail { code: code.to_owned(), message }
}

bindings::export!(PlainSearch with_types_in bindings);
