//! Answers `{"method"}`, although POST, QUERY and GET share one key. Such an answer must be
//! neither kept nor shared.

use weir_sdk::serde_json::json;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct ReadsMethod;

impl Pipeline for ReadsMethod {
    async fn handle(request: Request) -> Result<Response, Failure> {
        Response::json(&json!({ "method": request.method() }))
    }
}

weir_sdk::pipeline!(ReadsMethod);
