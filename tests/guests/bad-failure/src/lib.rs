//! Fails with the `code` and `message` of its body, such as a code that is no `[a-z-]+` and a
//! message of many bytes.

use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct BadFailure;

impl Pipeline for BadFailure {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        let member = |name: &str| body[name].as_str().unwrap_or_default();
        Err(Failure::failed(member("code"), member("message")))
    }
}

weir_sdk::pipeline!(BadFailure);
