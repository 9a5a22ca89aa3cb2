//! Searches two collections for one question in one run.
//!
//! The body is `{"first": NAME, "second": NAME, "query": TEXT}`; with `"mode"` (`dense`, which is
//! the default, `keyword` or `hybrid`) and `"limit"` (10). It answers what each collection has,
//! `{"first": [HIT…], "second": [HIT…]}`, with hits as `search` writes them.

use weir_sdk::collections::{Collection, Hits, Query};
use weir_sdk::embedding::{self, Embedding};
use weir_sdk::serde_json::{self, Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

struct TwoCollections;

impl Pipeline for TwoCollections {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let member = |name: &str| body[name].as_str().unwrap_or_default();
        let (query, mode) = (member("query"), body["mode"].as_str().unwrap_or("dense"));
        let vector = match mode {
            "keyword" => None,
            _ => Some(embedding::embed(None, query).await?),
        };
        let limit = body["limit"].as_u64().and_then(|limit| limit.try_into().ok()).unwrap_or(10);
        let text = (mode != "dense").then_some(query);
        let first = search(member("first"), vector.as_ref(), text, limit).await?;
        let second = search(member("second"), vector.as_ref(), text, limit).await?;
        Response::json(&json!({ "first": first, "second": second }))
    }
}

async fn search(
    collection: &str,
    vector: Option<&Embedding>,
    text: Option<&str>,
    limit: u32,
) -> Result<Value, Failure> {
    let mut query = Query::new(limit).nearest(vector);
    if let Some(text) = text {
        query = query.text(text);
    }
    let hits = Collection::open(collection)?.search(query).await?;
    Ok(listed(&hits))
}

fn listed(hits: &Hits) -> Value {
    let hit = |(index, hit)| {
        let weir_sdk::collections::Hit { id, score, start, end, .. } = hit;
        let metadata = hits.metadata(index).unwrap_or_default();
        json!({
            "document_id": id,
            "score": score,
            "text": hits.text(index),
            "start": start,
            "end": end,
            "metadata": serde_json::from_str::<Value>(&metadata).unwrap_or_default(),
        })
    };
    (0_u32..).zip(hits.ranking()).map(hit).collect()
}

weir_sdk::pipeline!(TwoCollections);
