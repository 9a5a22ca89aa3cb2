//! Filters with as many conditions as are allowed, over documents with as much metadata as is allowed.

use serde_json::{Value, json};

use super::super::asking::ask;
use crate::harness::{Client, Server, document, guest};

const DOCUMENTS: usize = 200;
const DOCUMENTS_OF_A_REQUEST: usize = 20;
/// About 60 KB of JSON.
const NUMBERS: usize = 10_000;

/// Ingests this many documents, each with an array of numbers.
pub(super) async fn ingest_large(client: &Client, documents: usize) {
    let many: Vec<_> = (0..NUMBERS).map(|n| n + 10_000).collect();
    let ids: Vec<_> = (0..documents).collect();
    for ids in ids.chunks(DOCUMENTS_OF_A_REQUEST) {
        let large = |n: &usize| {
            let mut document = document(&format!("d{n}"), "A note about boats.");
            document["metadata"] = json!({ "many": many });
            document
        };
        client.ingest("docs", &ids.iter().map(large).collect::<Vec<_>>()).await;
    }
}

/// Finds nothing, and has to look at everything.
pub(super) fn bomb(number: usize) -> Value {
    let values: Vec<_> = (0..64).map(|n| -1 - n).collect();
    let should = vec![json!({ "field": "many", "any_of": values }); 64];
    json!({
        "query": format!("boats {number}"), "mode": "keyword", "filter": { "should": should },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_takes_too_much_work_is_refused() {
    // By the work that it takes, not by the time, which on a busy machine may be up first.
    let server = Server::with(|config| {
        config.search().set("pipelines.search.deadline_ms", 60_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    client.create("notes").await;
    ingest_large(client, DOCUMENTS).await;
    client.ingest("notes", &[document("a", "A note about boats.")]).await;
    let bombs = (0..8).map(|number| async move {
        ask(client, "search", &bomb(number)).await.assert_problem(400, "query-too-costly");
    });
    let neighbour = async {
        for number in 0..20 {
            let query = format!("boats {number}");
            let question = json!({ "collection": "notes", "query": query, "mode": "keyword" });
            assert_eq!(client.search(&question).await.ids(), ["a"]);
        }
    };
    futures::join!(futures::future::join_all(bombs), neighbour);
    // One condition is not too much.
    let filter = json!({ "must": [{ "field": "many", "any_of": [-1, 10_001] }] });
    let question = json!({ "query": "boats", "mode": "keyword", "filter": filter });
    assert_eq!(client.search(&question).await.ids().len(), 10);
}

/// A guest's search is refused as a client's is, however often it tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_of_a_guest_that_takes_too_much_work_is_refused() {
    let server = Server::with(|config| {
        config.search().pipeline("attacks", &guest("attacks"), &["embedding", "read", "logging"]);
        config.set("pipelines.attacks.deadline_ms", 60_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    client.create("notes").await;
    ingest_large(client, 60).await;
    client.ingest("notes", &[document("a", "A note about boats.")]).await;
    let bombs = (0..2).map(async |number| {
        let body = json!({
            "attack": "filters", "collection": "docs", "text": "boats", "searches": 4,
            "number": number,
        });
        let answer = ask(client, "attacks", &body).await;
        answer.assert_status(200);
        assert_eq!(answer.json(), json!({ "done": 4 }));
    });
    let neighbour = async {
        for number in 0..10 {
            let query = format!("boats {number}");
            let question = json!({ "collection": "notes", "query": query, "mode": "keyword" });
            assert_eq!(client.search(&question).await.ids(), ["a"]);
        }
    };
    futures::join!(futures::future::join_all(bombs), neighbour);
}

#[tokio::test]
async fn a_filter_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    let text = "x".repeat((256 << 10) + 1);
    let cases = [
        // The pipeline refuses these,
        (json!({ "must": vec![json!({ "field": "a", "exists": true }); 65] }), "invalid-filter"),
        (json!({ "must": [{ "field": "a", "any_of": vec![1; 65] }] }), "invalid-filter"),
        // and the host this one.
        (json!({ "must_not": [{ "field": "a", "equals": text }] }), "invalid-query"),
    ];
    for (filter, code) in cases {
        let question = json!({ "query": "boats", "mode": "keyword", "filter": filter });
        ask(client, "search", &question).await.assert_problem(400, code);
    }
}
