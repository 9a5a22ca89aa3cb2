//! Pipelines that import a writer: they run for each request, and accept only POST.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use super::asking::{STORED, ask, assert_hit, assert_via, runs, send, under_default};
use crate::harness::{Answer, Client, Server, document, eventually};

const VIA: &str = "weir; fwd=bypass; detail=writes";

/// A server with the collection `docs`, which hosts `search` and, as `writer`, the guest that puts
/// the document of its body.
async fn server() -> Server {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "writer", "writer", &["write"]);
    })
    .await;
    server.client.create("docs").await;
    server
}

fn put(id: &str, text: &str) -> Value {
    json!({ "collection": "docs", "id": id, "text": text })
}

/// The position that the pipeline's write returned.
fn told(answer: &Answer) -> u64 {
    assert_via(answer, VIA);
    answer.json()["position"].as_u64().unwrap()
}

async fn write(client: &Client, request: &Value) -> Answer {
    ask(client, "writer", request).await
}

#[tokio::test]
async fn each_request_runs_the_pipeline() {
    const CLIENTS: usize = 20;
    let server = server().await;
    let client = &server.client;
    let same = put("same", "The same document.");
    let asked = (0..CLIENTS).map(|_| write(client, &same));
    let positions: BTreeSet<_> = join_all(asked).await.iter().map(told).collect();
    assert_eq!(
        positions.len(),
        1,
        "storing the same document again is not a change: {positions:?}"
    );
    assert_eq!(runs(client, "writer").await, CLIENTS as f64);

    let requests: Vec<_> = (0..CLIENTS).map(|n| put("one", &format!("Version {n}."))).collect();
    let asked = requests.iter().map(|request| write(client, request));
    let positions: BTreeSet<_> = join_all(asked).await.iter().map(told).collect();
    assert_eq!(positions.len(), CLIENTS, "each version is a change: {positions:?}");
    assert_eq!(runs(client, "writer").await, 2.0 * CLIENTS as f64);
    assert_eq!(client.metric("weir_cache_lookups_total", &[("pipeline", "writer")]).await, 0.0);
}

#[tokio::test]
async fn it_refuses_methods_that_promise_to_change_nothing() {
    let server = server().await;
    let client = &server.client;
    let text = put("by-get", "Not to be written.").to_string();
    for method in ["GET", "HEAD", "QUERY"] {
        let refused = send(client, method, "writer", &text, &[]).await;
        if method == "HEAD" {
            refused.assert_status(405);
        } else {
            refused.assert_problem(405, "method-not-allowed");
        }
        assert_eq!(refused.header("allow"), "POST", "{method}");
    }
    assert_eq!((runs(client, "writer").await, client.count("docs").await), (0.0, 0));
}

#[tokio::test]
async fn its_writes_invalidate_and_are_found() {
    let server = server().await;
    let client = &server.client;
    client.ingest("docs", &[document("bread", "Bread is baked from flour.")]).await;
    let question = json!({ "query": "flour", "mode": "keyword" });
    assert_via(&client.search(&question).await, STORED);
    assert_hit(&client.search(&question).await);

    let wrote = write(client, &put("mill", "Flour, flour, flour.")).await;
    let position = told(&wrote);
    assert_eq!(wrote.position(), position, "the answer has the position of its write");
    let after = client.search(&question).await;
    assert!(!after.header("cache-status").contains("hit"), "{after:?}");
    eventually("the document is found", async || {
        let answer = client.search(&question).await;
        let found = answer.ids() == ["mill", "bread"];
        assert!(found || answer.position() < position, "{answer:?} after {position}");
        found.then_some(())
    })
    .await;
    assert_eq!(client.count("docs").await, 2);
}

#[tokio::test]
async fn a_failed_write_fails_the_pipeline() {
    let server = server().await;
    let client = &server.client;
    for (collection, id, text, status, code) in [
        ("absent", "a", "Text.", 404, "unknown-collection"),
        ("NO NAME", "a", "Text.", 404, "unknown-collection"),
        ("docs", "", "Text.", 400, "invalid-document"),
        ("docs", "a\nb", "Text.", 400, "invalid-document"),
        ("docs", "a", "nul \0", 400, "nul-in-text"),
    ] {
        let request = json!({ "collection": collection, "id": id, "text": text });
        let answer = write(client, &request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{request}");
    }
    assert_eq!(client.count("docs").await, 0);
}
