//! Pipelines without `async func`, as in JavaScript and Python: they have the same capabilities,
//! grants and answers, through the plain interfaces.

use serde_json::{Value, json};

use super::asking::{STORED, ask, assert_hit, assert_via, send, under_default};
use crate::harness::{Client, Server, document};

/// A server with the collection `docs` that hosts the plain guests and `search`.
async fn server() -> Server {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "plain", "plain-search", &["embedding"]);
        config.set("pipelines.plain.grants.collections.read", vec!["docs", "absent"]);
        under_default(config, "plain-writer", "plain-writer", &[]);
        config.set("pipelines.plain-writer.grants.collections.write", vec!["docs", "absent"]);
    })
    .await;
    server.client.create("docs").await;
    let documents = [
        document("bread", "Bread is baked from flour."),
        document("wine", "Wine is pressed from grapes."),
    ];
    server.client.ingest("docs", &documents).await;
    server
}

#[tokio::test]
async fn a_plain_pipeline_finds_what_an_async_one_finds() {
    let server = server().await;
    let client = &server.client;
    let question = json!({ "collection": "docs", "query": "how is bread made" });
    let plain = ask(client, "plain", &question).await;
    assert_via(&plain, STORED);
    let found = client.search(&json!({ "query": "how is bread made" })).await;
    assert_eq!(plain.json()["results"], found.json()["results"]);
    assert_eq!(plain.ids().len(), 2);
    assert_hit(&ask(client, "plain", &question).await);

    let whole = ask(client, "plain", &json!({ "collection": "docs", "id": "wine" })).await;
    assert_eq!(whole.results()[0]["text"], "Wine is pressed from grapes.");
    client.ingest("docs", &[document("bun", "A bun is made of bread.")]).await;
    assert_eq!(ask(client, "plain", &question).await.ids().len(), 3, "the write is seen");
}

#[tokio::test]
async fn a_refused_call_is_reported_to_the_client() {
    let server = server().await;
    let client = &server.client;
    for (request, status, code, says) in [
        (json!({ "collection": "absent", "query": "q" }), 404, "unknown-collection", "absent"),
        (json!({ "collection": "NO NAME", "query": "q" }), 404, "unknown-collection", "NO NAME"),
        (json!({ "collection": "theirs", "query": "q" }), 403, "collection-not-granted", "theirs"),
        (json!({ "collection": "docs", "texts": 257 }), 500, "invalid-call", "at most 256"),
    ] {
        let answer = ask(client, "plain", &request).await;
        answer.assert_problem(status, code);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(says), "{request}: {detail}");
    }
}

async fn write(client: &Client, request: &Value) -> Value {
    let answer = ask(client, "plain-writer", request).await;
    answer.assert_status(200);
    assert_via(&answer, "weir; fwd=bypass; detail=writes");
    answer.json()
}

#[tokio::test]
async fn a_plain_writer_is_a_writer() {
    let server = server().await;
    let client = &server.client;
    for method in ["GET", "QUERY"] {
        let refused = send(client, method, "plain-writer", "{}", &[]).await;
        refused.assert_problem(405, "method-not-allowed");
    }
    let theirs = json!({ "collection": "theirs", "put": ["A text."] });
    ask(client, "plain-writer", &theirs).await.assert_problem(403, "collection-not-granted");
    let absent = json!({ "collection": "absent", "delete": ["d0"] });
    ask(client, "plain-writer", &absent).await.assert_problem(404, "unknown-collection");
}

#[tokio::test]
async fn many_documents_are_put_and_deleted_at_one_position_or_not_at_all() {
    let server = server().await;
    let client = &server.client;
    let put = json!({ "collection": "docs", "put": ["One.", "Two.", "Three."] });
    let put_at = write(client, &put).await["put"].as_u64().unwrap();
    assert_eq!(client.count("docs").await, 5);

    // One id is invalid, so none of the others is deleted.
    for ids in [json!(["d0", "a\nb"]), json!(vec!["d0"; 1_001])] {
        let request = json!({ "collection": "docs", "delete": ids });
        ask(client, "plain-writer", &request).await.assert_problem(400, "invalid-document");
        assert_eq!(client.count("docs").await, 5);
    }
    let delete = json!({ "collection": "docs", "delete": ["d0", "d1", "never", "d0"] });
    assert_eq!(write(client, &delete).await["deleted"], put_at + 1, "one change");
    assert_eq!(client.count("docs").await, 3);
    // None of them exists any more, so nothing changes.
    assert_eq!(write(client, &delete).await["deleted"], put_at + 1);
}
