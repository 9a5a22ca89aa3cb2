//! Recurses to just below the end of the stack, and calls the host from there with the largest
//! arguments that a guest can pass: the host's part of the stack must not run out.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_sdk::Request;
use weir_sdk::collections::Collection;
use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::{Value, json};

/// Read and written around each call, so that the compiler cannot turn the recursion into a loop.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The request's body says how deep: the host's test looks for the depth at which the stack ends.
pub(crate) fn at_its_end(request: &Request) -> Value {
    let body = request.json::<Value>().ok();
    let long = "n".repeat(1 << 20);
    let depth = body.and_then(|body| body["depth"].as_u64()).unwrap_or_default();
    down(request, &long, depth);
    json!(depth)
}

#[inline(never)]
fn down(request: &Request, long: &str, depth: u64) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if depth > 0 {
        down(request, long, depth - 1);
    } else {
        call_the_host(request, long);
    }
    CALLS.fetch_sub(1, Ordering::Relaxed);
}

/// Not inlined: what it keeps in memory would end the guest's own stack there before wasmtime's.
#[inline(never)]
fn call_the_host(request: &Request, long: &str) {
    for _ in 0..10 {
        let _ = Collection::open(long);
        let _ = request.header(&long[..1_000]);
        let _ = request.body();
        log(Level::Info, long, &[(&long[..10_000], &long[..10_000]); 40]);
    }
}
