//! Opens collections and keeps every handle.

use weir_sdk::Failure;
use weir_sdk::collections::Collection;
use weir_sdk::serde_json::{Value, json};

const HANDLES: usize = 1_000_000;

pub(crate) fn keep() -> Result<Value, Failure> {
    let mut kept = Vec::new();
    for _ in 0..HANDLES {
        kept.push(Collection::open("docs")?);
    }
    Ok(json!(kept.len()))
}
