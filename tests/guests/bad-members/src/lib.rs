//! Answers the hits on `text` in its body's `collection` beside a member whose name and JSON
//! text are its body's `name` and `json`: twice `results`, or no JSON.

use weir_sdk::collections::{Collection, Query};
use weir_sdk::serde_json::Value;
use weir_sdk::{Body, Failure, HitsBody, Pipeline, Request, Response};

struct BadMembers;

impl Pipeline for BadMembers {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let collection = Collection::open(&member("collection"))?;
        let hits = collection.search(Query::new(10).text(member("text"))).await?;
        let members = vec![(member("name"), member("json"))];
        let body = Body::Hits(HitsBody { hits, members });
        Ok(Response { body, ..Response::bytes("application/json", "") })
    }
}

weir_sdk::pipeline!(BadMembers);
