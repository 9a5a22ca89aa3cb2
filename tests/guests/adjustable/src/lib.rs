//! Does what its settings say: computes for so long, traps for a part of the requests, and answers with what
//! it is to say. So versions of a pipeline differ in what is measured, and in nothing else.

use std::hint::black_box;

use weir_sdk::serde_json::json;
use weir_sdk::{Failure, Pipeline, Request, Response, settings};

struct Adjustable;

impl Pipeline for Adjustable {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let setting = |name| settings::parse::<u64>(name).map(Option::unwrap_or_default);
        black_box((0..setting("rounds")?).fold(1, |number, round| mixed(number ^ round)));
        let hash = request.body().iter().fold(0, |hash, byte| mixed(hash ^ u64::from(*byte)));
        if hash % 100 < setting("trap_percent")? {
            // This compiles to `unreachable`.
            std::process::abort();
        }
        Response::json(&json!({ "says": setting("says")? }))
    }
}

/// A number that depends on all bits of another one (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

weir_sdk::pipeline!(Adjustable);
