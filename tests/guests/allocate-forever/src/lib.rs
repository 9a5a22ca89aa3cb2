//! Allocates memory, 1 MiB at a time, until an allocation fails, and then aborts.

use weir_sdk::{Failure, Pipeline, Request, Response};

struct AllocateForever;

impl Pipeline for AllocateForever {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        loop {
            // The pages are written to, so that the host has to provide them.
            std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
}

weir_sdk::pipeline!(AllocateForever);
