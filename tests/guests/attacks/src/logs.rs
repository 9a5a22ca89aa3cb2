//! Writes as many lines to the log as it is let, of characters that are escaped.

use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::{Value, json};

const LINES: usize = 10_000;

pub(crate) fn flood() -> Value {
    let escaped = "\u{200b}\"\\".repeat(4 << 10);
    for n in 0..LINES {
        log(Level::Error, &escaped, &[("line", &n.to_string()), (&escaped, &escaped)]);
    }
    json!(LINES)
}
