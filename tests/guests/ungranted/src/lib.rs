//! Imports `weir:documents/writer`, which the test does not grant.

use weir_sdk::{Failure, Pipeline, Request, Response, documents};

struct Ungranted;

impl Pipeline for Ungranted {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        documents::delete("theirs", ["everything"]).await?;
        Response::json(&true)
    }
}

weir_sdk::pipeline!(Ungranted);
