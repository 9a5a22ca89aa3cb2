//! Puts the document `{"collection", "id", "text"}` of its body and answers
//! `{"position"}`: a pipeline that must never be cached nor shared.

use weir_sdk::documents::{Document, put};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

struct Writer;

impl Pipeline for Writer {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let document = Document::new(member("id"), member("text"));
        let position = put(&member("collection"), [document]).await?;
        Response::json(&json!({ "position": position }))
    }
}

weir_sdk::pipeline!(Writer);
