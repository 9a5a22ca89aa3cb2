//! Reads a million parts of the request: the record of what was read could grow without end.

use weir_sdk::Request;
use weir_sdk::serde_json::{Value, json};

const PARTS: usize = 1_000_000;

pub(crate) fn read(request: &Request) -> Value {
    for n in 0..PARTS {
        let _ = request.header(&format!("x-{n}"));
        let _ = request.query(&format!("q-{n}"));
    }
    json!(PARTS)
}
