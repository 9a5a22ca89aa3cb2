//! Answers its setting `body` with the content type of JSON, whatever the text is.

use weir_sdk::{Failure, Pipeline, Request, Response, settings};

struct BadJson;

impl Pipeline for BadJson {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        let body = settings::get("body").unwrap_or_default();
        Ok(Response::bytes("application/json", body))
    }
}

weir_sdk::pipeline!(BadJson);
