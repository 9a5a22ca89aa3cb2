//! Answers what it found first, but only after it has seen a change. This makes a fill race with a
//! write without sleeping.
//!
//! For the body `{"collection", "text"}` it searches by keyword, logs `searched`, searches again
//! until something else is found (or the deadline ends it), and answers the ids of the first
//! search, `{"ids"}`. It needs the grants `collections` and `logging`.

use weir_sdk::collections::{Collection, Query};
use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

struct SlowReader;

impl Pipeline for SlowReader {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let text = body["text"].as_str().unwrap_or_default();
        let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
        let first = ids(&collection, text).await?;
        log(Level::Info, "searched", &[("text", text)]);
        while ids(&collection, text).await? == first {}
        Response::json(&json!({ "ids": first }))
    }
}

async fn ids(collection: &Collection, text: &str) -> Result<Vec<String>, Failure> {
    let hits = collection.search(Query::new(100).text(text)).await?;
    Ok(hits.ranking().into_iter().map(|hit| hit.id).collect())
}

weir_sdk::pipeline!(SlowReader);
