//! Attacks on the host from inside a guest, one file each. The body names one: `{"attack": "…"}`, with
//! what that needs. Each does as much as it can, and answers with what it was let do, if it gets
//! that far. All need grants for embedding, reading and logging.

mod filters;
mod handles;
mod lists;
mod logs;
mod parts;
mod searches;
mod stack;

use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

struct Attacks;

impl Pipeline for Attacks {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let done = match body["attack"].as_str().unwrap_or_default() {
            "searches" => searches::not_awaited(&body).await?,
            "filters" => filters::search(&body).await?,
            "parts" => parts::read(&request),
            "lists" => lists::pass(&body).await,
            "handles" => handles::keep()?,
            "stack" => stack::at_its_end(&request),
            "logs" => logs::flood(),
            other => return Err(Failure::invalid_request("no-such-attack", other)),
        };
        Response::json(&json!({ "done": done }))
    }
}

weir_sdk::pipeline!(Attacks);
