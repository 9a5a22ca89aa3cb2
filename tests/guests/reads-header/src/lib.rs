//! Answers `{"flavour"}` from the header `x-flavour`, which is not in the key. Such an answer
//! must be neither kept nor shared.

use weir_sdk::serde_json::json;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct ReadsHeader;

impl Pipeline for ReadsHeader {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let flavour = request.header("x-flavour");
        let flavour = flavour.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Response::json(&json!({ "flavour": flavour }))
    }
}

weir_sdk::pipeline!(ReadsHeader);
