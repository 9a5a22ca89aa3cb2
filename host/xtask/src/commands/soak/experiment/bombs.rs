//! Documents with as much metadata as is allowed, and filters that make a search look at all of it.

use anyhow::Result;
use serde_json::{Value, json};

use super::target::Target;
use super::texts;

/// The collection of documents with much metadata.
pub(crate) const BOMBS: &str = "bombs";

const DOCUMENTS_OF_A_REQUEST: u64 = 50;
/// About 60 KB of JSON, of the 64 KiB that are allowed.
const NUMBERS: i64 = 10_000;
/// Enough that each document has some of them.
const WORDS: usize = 20;
/// As many as the pipeline allows of conditions, and of values in one.
const MOST: i64 = 64;

/// Creates the collection, with so many documents. A search gives up on 100 of them already.
pub(crate) async fn prepare(target: Target, documents: u64) -> Result<()> {
    let collection = target.url(&format!("collections/{BOMBS}"));
    target.must(target.http.put(&collection)).await?;
    let many: Vec<i64> = (0..NUMBERS).map(|number| number + 10_000).collect();
    for first in (0..documents).step_by(DOCUMENTS_OF_A_REQUEST as usize) {
        let end = documents.min(first + DOCUMENTS_OF_A_REQUEST);
        let documents = (first..end).map(|number| {
            let mut document = texts::document(number);
            document["metadata"] = json!({ "many": many });
            document
        });
        let request = target
            .http
            .post(format!("{collection}/documents"))
            .header("content-type", "application/x-ndjson")
            .body(texts::ndjson(documents));
        target.must(request).await?;
    }
    Ok(())
}

/// Removes the collection.
pub(crate) async fn clear(target: Target) -> Result<()> {
    target.must(target.http.delete(target.url(&format!("collections/{BOMBS}")))).await
}

/// A new search for words, with the filter.
pub(crate) fn question() -> Value {
    let mut question = texts::new_question(BOMBS);
    question["mode"] = json!("keyword");
    question["filter"] = filter();
    question
}

/// The same from inside a guest, `tests/guests/attacks`, so many times one after the other.
pub(crate) fn from_a_guest(searches: u64) -> Value {
    let text = texts::new_text(WORDS);
    json!({ "attack": "filters", "collection": BOMBS, "text": text, "searches": searches })
}

/// Holds for no document, and has to look at everything to know.
fn filter() -> Value {
    let values: Vec<i64> = (1..=MOST).map(|number| -number).collect();
    let condition = json!({ "field": "many", "any_of": values });
    json!({ "should": (0..MOST).map(|_| condition.clone()).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_as_large_as_allowed() {
        let filter = filter();
        assert_eq!(filter["should"].as_array().map(Vec::len), Some(64));
        assert_eq!(filter["should"][63]["any_of"].as_array().map(Vec::len), Some(64));
    }
}
