//! Answers a JSON string of as many bytes as the body's `bytes` says, by default 1 GiB: more than
//! the limit for answers, or even for memory.

use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

struct HugeAnswer;

impl Pipeline for HugeAnswer {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let bytes = request.json::<Value>()?["bytes"].as_u64().unwrap_or(1 << 30);
        let mut answer = vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX).max(2)];
        let last = answer.len() - 1;
        (answer[0], answer[last]) = (b'"', b'"');
        Ok(Response::bytes("application/json", answer))
    }
}

weir_sdk::pipeline!(HugeAnswer);
