//! The server's answers to `weir cache`, for people.

use std::fmt::Write as _;

use serde_json::Value;

/// What a request would be answered with, and why.
pub(super) fn explanation(answer: &Value) -> String {
    let mut text = String::new();
    let said = |key: &str| answer[key].as_str();
    let outcome = said("outcome").unwrap_or("?");
    let _ = match said("cache_status") {
        Some(status) => writeln!(text, "{outcome}: {status}"),
        None => writeln!(text, "{outcome}"),
    };
    let _ = writeln!(text, "{}", said("why").unwrap_or_default());
    if let Some(key) = said("key") {
        let _ = writeln!(text, "\nkey {key}");
    }
    for part in answer["parts"].as_array().into_iter().flatten() {
        let shown = part["text"].as_str().map_or("(absent)".to_owned(), shorten);
        let _ = writeln!(text, "  {}: {shown}", part["part"].as_str().unwrap_or_default());
    }
    for tier in ["memory", "shared"] {
        entry(&mut text, tier, &answer[tier]);
    }
    text
}

fn entry(text: &mut String, tier: &str, entry: &Value) {
    let Some(as_of) = entry["as_of"].as_u64() else { return };
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (age_ms, ttl_ms) = (number(&entry["age_ms"]), number(&entry["lifetime"]["ttl_ms"]));
    let _ = writeln!(
        text,
        "\n{tier}: made at position {as_of}, {} ago, for {}; {} bytes",
        seconds(age_ms),
        seconds(ttl_ms),
        number(&entry["body_bytes"]),
    );
    for on in entry["depends_on"].as_array().into_iter().flatten() {
        let tag = on["tag"].as_str().unwrap_or_default();
        let changed =
            if on["changed"].as_bool() == Some(true) { ", so it has changed" } else { "" };
        let last = on["last_position"].as_u64();
        let last = last.map_or("unknown".to_owned(), |last| last.to_string());
        let _ = writeln!(text, "  depends on {tag}, whose last position is {last}{changed}");
    }
}

/// What was invalidated.
pub(super) fn invalidated(answer: &Value) -> String {
    let mut text = String::new();
    for one in answer["invalidated"].as_array().into_iter().flatten() {
        let tenant = one["tenant"].as_str().unwrap_or_default();
        let _ = writeln!(text, "invalidated for {tenant} at position {}", one["position"]);
    }
    text
}

/// A line about one of `total` requests, or about all.
pub(super) fn warmed(line: &Value, total: usize) -> String {
    if let (Some(answered), Some(failed)) = (line["answered"].as_u64(), line["failed"].as_u64()) {
        return format!("{answered} answered, {failed} not\n");
    }
    let number = line["index"].as_u64().unwrap_or_default() + 1;
    match line["cache_status"].as_str() {
        Some(status) => format!("{number}/{total} {status}\n"),
        None => format!("{number}/{total} {}\n", line["detail"].as_str().unwrap_or("failed")),
    }
}

fn seconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{:01} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} s", ms / 1_000),
    }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn explanations_can_be_read() {
        let answer = json!({
            "outcome": "run",
            "cache_status": null,
            "why": "Because.",
            "key": "ab",
            "parts": [
                { "part": "json-field /query", "text": "\"bread\"" },
                { "part": "header x", "text": null },
            ],
            "memory": {
                "as_of": 4, "age_ms": 1_250, "body_bytes": 7, "lifetime": { "ttl_ms": 3_600_000 },
                "depends_on": [{ "tag": "collection:docs", "last_position": 5, "changed": true }],
            },
            "shared": { "miss": "absent" },
        });
        let expected = "run\nBecause.\n\nkey ab\n  json-field /query: \"bread\"\n  header x: (absent)\n\n\
            memory: made at position 4, 1.2 s ago, for 3600 s; 7 bytes\n  \
            depends on collection:docs, whose last position is 5, so it has changed\n";
        assert_eq!(explanation(&answer), expected);
    }

    #[test]
    fn the_rest_can_be_read_too() {
        let answer = json!({ "invalidated": [{ "tenant": "default", "position": 12 }] });
        assert_eq!(invalidated(&answer), "invalidated for default at position 12\n");
        let line = json!({ "index": 0, "cache_status": "weir; fwd=miss; stored" });
        assert_eq!(warmed(&line, 3), "1/3 weir; fwd=miss; stored\n");
        assert_eq!(warmed(&json!({ "answered": 2, "failed": 1 }), 3), "2 answered, 1 not\n");
    }
}
