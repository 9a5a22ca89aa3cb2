//! Fails with the `code` and `message` from its body, such as a code that does not match
//! `[a-z-]+` or a very long message.

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
