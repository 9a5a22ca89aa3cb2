//! Searches the `collection` that its body names for the word `switch`. It fails with the id of what
//! it finds as its code, and otherwise answers with an empty list.

use weir_sdk::collections::{Collection, Query};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

struct FailsByDocument;

impl Pipeline for FailsByDocument {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
        let hits = collection.search(Query::new(1).text("switch")).await?;
        match hits.ranking().into_iter().next() {
            Some(hit) => Err(Failure::failed(hit.id, "The switch is on.")),
            None => Response::json(&json!([])),
        }
    }
}

weir_sdk::pipeline!(FailsByDocument);
