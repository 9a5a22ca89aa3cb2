//! Recurses to just below the end of the stack, and calls the host from there with the largest
//! arguments that a guest can pass on the stack's behalf: the host's part of the stack must not run
//! out.

use std::hint::black_box;

use weir_sdk::Request;
use weir_sdk::collections::Collection;
use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::{Value, json};

/// The request's body says how deep: the host's test looks for the depth at which the stack ends.
pub(crate) fn at_its_end(request: &Request) -> Value {
    let depth = request.json::<Value>().ok().and_then(|body| body["depth"].as_u64());
    json!(down(request, depth.unwrap_or_default()))
}

fn down(request: &Request, depth: u64) -> u64 {
    // Keeps each frame, of about 100 bytes, apart from the next.
    let frame = black_box([depth; 8]);
    if depth > 0 {
        return black_box(down(request, depth - 1) + frame[0].min(1));
    }
    let long = "n".repeat(1 << 20);
    for _ in 0..100 {
        black_box(Collection::open(&long).is_ok());
        black_box(request.header(&long[..1_000]));
        black_box(request.body());
        log(Level::Info, &long, &[(&long[..10_000], &long[..10_000]); 40]);
    }
    0
}
