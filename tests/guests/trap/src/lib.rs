//! Traps at once.

use weir_sdk::{Failure, Pipeline, Request, Response};

struct Trap;

impl Pipeline for Trap {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        // This compiles to `unreachable`.
        std::process::abort()
    }
}

weir_sdk::pipeline!(Trap);
