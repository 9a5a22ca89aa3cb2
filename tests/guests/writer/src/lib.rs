//! Puts the document of its body, `{"collection", "id", "text"}`, and answers `{"position"}`. The
//! answers of such a pipeline must be neither kept nor shared.

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
