//! Never answers and never waits: only the epoch deadline ends it.

use weir_sdk::{Failure, Pipeline, Request, Response};

struct LoopForever;

impl Pipeline for LoopForever {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        loop {
            std::hint::spin_loop();
        }
    }
}

weir_sdk::pipeline!(LoopForever);
