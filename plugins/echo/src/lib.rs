//! The smallest pipeline: the answer is the request's body.

use weir_sdk::{Failure, Pipeline, Request, Response};

struct Echo;

impl Pipeline for Echo {
    async fn handle(request: Request) -> Result<Response, Failure> {
        Ok(Response::bytes("application/json", request.body()))
    }
}

weir_sdk::pipeline!(Echo);
