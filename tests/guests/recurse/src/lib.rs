//! Calls itself until the stack overflows.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_sdk::{Failure, Pipeline, Request, Response};

/// Read and written around each call, so that the compiler cannot turn the recursion into a loop.
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Recurse;

impl Pipeline for Recurse {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        Ok(Response::bytes("application/json", recurse(0).to_string()))
    }
}

fn recurse(depth: u64) -> u64 {
    if CALLS.fetch_add(1, Ordering::Relaxed) == u64::MAX {
        return depth;
    }
    let below = recurse(depth + 1);
    CALLS.fetch_add(below, Ordering::Relaxed)
}

weir_sdk::pipeline!(Recurse);
