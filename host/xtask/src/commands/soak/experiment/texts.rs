//! What is asked and written. No question is asked twice in a run of the experiment, except those
//! of the warm set.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::commands::bench::questions::words;

const WORDS_OF_A_QUESTION: usize = 6;
const WORDS_OF_A_DOCUMENT: usize = 40;
/// Seeds that neither the benchmark nor the warm set uses.
const NEW: u64 = 16 << 32;
const WARM: u64 = 17 << 32;
const DOCUMENTS: u64 = 18 << 32;

/// The manifest of the guest that does what its settings say.
pub(crate) const MANIFEST: &str =
    include_str!("../../../../../../tests/guests/adjustable/plugin.toml");

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A number that nobody else gets in this process.
pub(crate) fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The body of a search in `collection` that has not been made before.
pub(crate) fn new_question(collection: &str) -> Value {
    let number = number();
    let words = words(NEW + number, WORDS_OF_A_QUESTION);
    question(collection, &format!("What is known about {words}, number {number}?"))
}

/// The body of a search of the warm set.
pub(crate) fn warm_question(collection: &str, number: u32) -> Value {
    let words = words(WARM + u64::from(number), WORDS_OF_A_QUESTION);
    question(collection, &format!("What is known about {words}, warm {number}?"))
}

fn question(collection: &str, query: &str) -> Value {
    json!({ "query": query, "collection": collection, "mode": "hybrid", "limit": 10 })
}

/// A document whose id and text depend on its number only.
pub(crate) fn document(number: u64) -> Value {
    let words = words(DOCUMENTS + number, WORDS_OF_A_DOCUMENT);
    json!({ "id": format!("document-{number}"), "text": format!("On {words}.") })
}

/// A text of `count` words that has not been used before.
pub(crate) fn new_text(count: usize) -> String {
    let number = number();
    format!("{} {number}", words(NEW + number, count))
}

/// A manifest that no other plugin has.
pub(crate) fn new_manifest() -> String {
    format!("description = \"{}\"\n{MANIFEST}", number())
}

/// Documents as NDJSON.
pub(crate) fn ndjson(documents: impl IntoIterator<Item = Value>) -> String {
    documents.into_iter().map(|document| format!("{document}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_questions_are_new_and_warm_ones_are_not() {
        assert_ne!(new_question("a"), new_question("a"));
        assert_ne!(new_text(3), new_text(3));
        assert_eq!(warm_question("a", 7), warm_question("a", 7));
        assert_ne!(warm_question("a", 7), warm_question("a", 8));
    }

    #[test]
    fn documents_are_lines() {
        let lines = ndjson((0..3).map(document));
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.starts_with(r#"{"id":"document-0""#), "{lines}");
    }
}
