//! Searches: honest ones, and ones that ask for as much work as a filter can.
//!
//! A filter bomb hurts if a search that looks at much metadata is not bounded, or holds a thread
//! that others need.

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::{texts, world};

const CLIENTS: usize = 8;
/// The collection of documents with much metadata.
const BOMBS: &str = "bombs";
const DOCUMENTS: u64 = 1_000;
const DOCUMENTS_OF_A_REQUEST: u64 = 50;
/// About 60 KB of JSON, of the 64 KiB that are allowed.
const NUMBERS: i64 = 10_000;
/// How many searches a guest makes in one request, one after the other.
const SEARCHES: u64 = 50;
/// As many as the pipeline allows of conditions, and of values in one.
const MOST: i64 = 64;

pub(super) async fn honest(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| {
            target.post("pipelines/search", &texts::new_question(world::BAD)).await;
        })
        .await
}

pub(super) async fn filter_bomb(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| {
            let mut question = texts::new_question(BOMBS);
            question["mode"] = json!("keyword");
            question["filter"] = filter();
            target.post("pipelines/search", &question).await;
        })
        .await
}

pub(super) async fn guest_filter_bomb(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| {
            let body = json!({
                "attack": "filters", "collection": BOMBS, "searches": SEARCHES,
                "number": texts::number(),
            });
            target.post("pipelines/attacks", &body).await;
        })
        .await
}

/// Holds for no document, and has to look at everything to know.
fn filter() -> Value {
    let values: Vec<i64> = (1..=MOST).map(|number| -number).collect();
    let condition = json!({ "field": "many", "any_of": values });
    json!({ "should": (0..MOST).map(|_| condition.clone()).collect::<Vec<_>>() })
}

pub(super) async fn prepare_filter_bomb(target: Target) -> Result<()> {
    let collection = target.url(&format!("collections/{BOMBS}"));
    target.must(target.http.put(&collection)).await?;
    let many: Vec<i64> = (0..NUMBERS).map(|number| number + 10_000).collect();
    for first in (0..DOCUMENTS).step_by(DOCUMENTS_OF_A_REQUEST as usize) {
        let documents = (first..first + DOCUMENTS_OF_A_REQUEST).map(|number| {
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

pub(super) async fn clear_filter_bomb(target: Target) -> Result<()> {
    target.must(target.http.delete(target.url(&format!("collections/{BOMBS}")))).await
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
