//! Answers the hits for its body's `text` in its body's `collection`, with a further member from
//! the body's `name` and `json`: a second `results`, or text that is not JSON.

use weir_sdk::collections::{Collection, Query, VectorError};
use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct BadMembers;

impl Pipeline for BadMembers {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let collection = Collection::open(&member("collection"))?;
        let hits = collection.search(Query::new(10).text(member("text"))).await?;
        let response = Response::hits(&hits).member_text(member("name"), member("json")).build();
        response.map_err(|error| match error {
            VectorError::Invalid(reason) => Failure::failed("invalid-member", reason),
            error => error.into(),
        })
    }
}

weir_sdk::pipeline!(BadMembers);
