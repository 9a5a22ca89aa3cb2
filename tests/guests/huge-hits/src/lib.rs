//! Searches the body's `collection` for `text` with the body's `limit`, by default 2³² - 1, and
//! answers the hits.

use weir_sdk::collections::{Collection, Query, Unit};
use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct HugeHits;

impl Pipeline for HugeHits {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let limit = body["limit"].as_u64().and_then(|limit| limit.try_into().ok());
        let query = Query::new(limit.unwrap_or(u32::MAX))
            .text(body["text"].as_str().unwrap_or_default())
            .unit(Unit::Chunk);
        let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
        Ok(Response::hits(&collection.search(query).await?).build()?)
    }
}

weir_sdk::pipeline!(HugeHits);
