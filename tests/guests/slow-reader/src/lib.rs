//! Answers what it found first, but only after it has searched for a while. This makes a fill race
//! with a write without sleeping: a run reads one state, so it cannot wait for a change.
//!
//! For the body `{"collection", "text", "work"}` it searches by keyword, logs `searched`, searches
//! `work` more times, and answers the ids of the first search, `{"ids"}`; with `"traps": true`, it
//! logs `traps` and traps instead. It fails if the same search finds something else later. It needs
//! the grants `collections` and `logging`.

use weir_sdk::collections::{Collection, Query};
use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

/// The same search is made again once in so many.
const CHECKED: u64 = 1_000;

struct SlowReader;

impl Pipeline for SlowReader {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let text = body["text"].as_str().unwrap_or_default();
        let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
        let first = ids(&collection, text).await?;
        log(Level::Info, "searched", &[("text", text)]);
        for round in 0..body["work"].as_u64().unwrap_or_default() {
            // Finds nothing, so that it takes nothing of the request's budget.
            ids(&collection, "").await?;
            if round % CHECKED == 0 && ids(&collection, text).await? != first {
                return Err(Failure::failed("two-states", "a run has read two states"));
            }
        }
        if body["traps"] == true {
            log(Level::Info, "traps", &[("text", text)]);
            // This compiles to `unreachable`.
            std::process::abort();
        }
        Response::json(&json!({ "ids": first }))
    }
}

async fn ids(collection: &Collection, text: &str) -> Result<Vec<String>, Failure> {
    let hits = collection.search(Query::new(100).text(text)).await?;
    Ok(hits.ranking().into_iter().map(|hit| hit.id).collect())
}

weir_sdk::pipeline!(SlowReader);
