//! Answers with a header from its body's `name` and `value`: hop-by-hop headers, `set-cookie`,
//! and names and values that HTTP forbids. The body can also give a `status` and a
//! `content_type`, such as 42 and `text\n`.

use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct BadHeaders;

impl Pipeline for BadHeaders {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let status = body["status"].as_u64().and_then(|status| status.try_into().ok());
        let content_type = body["content_type"].as_str().unwrap_or("application/json");
        let mut response = Response::bytes(content_type, "{}").status(status.unwrap_or(200));
        if let (Some(name), Some(value)) = (body["name"].as_str(), body["value"].as_str()) {
            response = response.header(name, value);
        }
        Ok(response)
    }
}

weir_sdk::pipeline!(BadHeaders);
