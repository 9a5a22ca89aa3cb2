//! A change of the model: the old one answers until the new one's index is ready, and each answer is
//! that of the model that its position belongs to.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::asking::{ask, ask_with, assert_hit};
use crate::harness::{Answer, Client, Config, Server, document, eventually, model, tokenizer};

/// The same model, whose tokenizer does not know capital letters: it finds other vectors and splits
/// texts in other places.
const OTHER: &str = "other";

pub(super) fn add_other(config: &mut Config, folder: &Path) {
    let known = fs::read_to_string(tokenizer()).unwrap();
    let changed = known.replace("\"lowercase\":true", "\"lowercase\":false");
    assert!(known != changed);
    let path = folder.join("other-tokenizer.json");
    fs::write(&path, changed).unwrap();
    let key = |key: &str| format!("embedding.models.{OTHER}.{key}");
    config
        .set(&key("model"), model().display().to_string())
        .set(&key("tokenizer"), path.display().to_string())
        .set(&key("sessions"), 1)
        .set("embedding.default_model", OTHER);
}

fn only_other(config: &mut Config, folder: &Path) {
    config.remove("embedding.models");
    add_other(config, folder);
}

fn documents() -> Vec<Value> {
    let long: String = (0..200).map(|n| format!("BOAT {n} LIES IN THE HARBOUR. ")).collect();
    let mut documents: Vec<_> =
        (0..40).map(|n| document(&format!("d{n}"), &format!("NOTE {n} ABOUT A BOAT."))).collect();
    documents.push(document("long", &long));
    documents
}

pub(super) fn question() -> Value {
    json!({ "query": "A BOAT IN THE HARBOUR", "mode": "hybrid", "limit": 50 })
}

/// The answer at `position` or later.
pub(super) async fn answer(client: &Client, position: u64) -> Answer {
    eventually("the index answers", async || {
        let demand = ("weir-min-position", position.to_string());
        let answer = ask_with(client, "search", &question(), (demand.0, &demand.1)).await;
        match answer.status {
            200 => Some(answer),
            503 => None,
            _ => panic!("{answer:?}"),
        }
    })
    .await
}

pub(super) async fn next(client: &Client) -> Value {
    client.get("/health/readiness").await.json()["derived"]["next"].clone()
}

#[tokio::test]
async fn the_old_model_answers_until_the_new_ones_index_takes_over() {
    // What each model answers.
    let files = tempfile::tempdir().unwrap();
    let folder = files.path();
    let fresh = Server::with(|config| {
        config.search();
        only_other(config, folder);
    })
    .await;
    fresh.client.create("docs").await;
    let wrote = fresh.client.ingest("docs", &documents()).await;
    let of_new = answer(&fresh.client, wrote.position()).await.json()["results"].clone();

    let server = Server::start().await;
    server.client.create("docs").await;
    let wrote = server.client.ingest("docs", &documents()).await;
    let before = answer(&server.client, wrote.position()).await;
    let of_old = before.json()["results"].clone();
    assert_ne!(scores(&of_old), scores(&of_new));

    let server = server
        .restart_with(|config| {
            config.search();
            add_other(config, folder);
        })
        .await;
    let client = &server.client;
    // Before anything is ready, and while documents are written.
    let first = ask(client, "search", &question()).await;
    first.assert_status(200);
    let mut seen = vec![first];
    client.create("notes").await;
    while next(client).await != Value::Null {
        client.ingest("notes", &[document(&format!("n{}", seen.len()), "A note.")]).await;
        seen.push(ask(client, "search", &question()).await);
    }
    server.logged("the other model has taken over").await;
    let after = ask(client, "search", &question()).await;
    let changed = after.position();
    assert!(changed > before.position());
    seen.push(after);
    for answer in &seen {
        let results = &answer.json()["results"];
        let expected = if answer.position() < changed { &of_old } else { &of_new };
        assert_eq!(scores(results), scores(expected), "at {}, {changed}", answer.position());
    }
    assert_hit(&ask(client, "search", &question()).await);
    let added = client.ingest("docs", &[document("more", "A BOAT MORE.")]).await;
    let with_more = answer(client, added.position()).await;
    assert!(with_more.ids().contains(&"more".to_owned()));

    // The old model is not needed any more.
    let server = server
        .restart_with(|config| {
            config.search();
            only_other(config, folder);
        })
        .await;
    let same = answer(&server.client, with_more.position()).await;
    assert_eq!((same.stated(), &same.body), (with_more.stated(), &with_more.body));

    // A model that is gone cannot answer: the change is made at once.
    let server = server
        .restart_with(|config| {
            config.search();
        })
        .await;
    server.logged("not configured any more").await;
    server.client.delete("/v1/collections/docs/documents/more").await.assert_status(200);
    let back = answer(&server.client, same.position() + 1).await;
    assert_eq!(scores(&back.json()["results"]), scores(&of_old));
}

/// The document, the chunk and the score of each hit.
pub(super) fn scores(results: &Value) -> Vec<String> {
    let results = results.as_array().unwrap();
    results
        .iter()
        .map(|hit| format!("{} {} {}", hit["document_id"], hit["start"], hit["score"]))
        .collect()
}
