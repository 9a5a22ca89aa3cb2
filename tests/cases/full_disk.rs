//! A disk that is full for a while, as far as the server can tell: what cannot be written is refused
//! or waits, nothing acknowledged is lost, reads stay exact at their position, and when there is
//! room again, everything goes on without a restart.
//!
//! The files of the process are limited in their length, which makes writes fail where a full disk
//! would.

use serde_json::{Value, json};

use super::asking::ask_with;
use crate::harness::{Answer, Client, Config, Server, document, eventually};

/// Room for the truth of [`many`], but not for their vectors.
const ROOM: u64 = 544 << 10;
const MANY: usize = 300;

fn configure(config: &mut Config) {
    config.search().set("ingest.searchable_timeout_ms", 500).set("log.level", "info");
}

/// A server with two documents whose files are small: SQLite's logs are gone after a drain.
async fn server() -> (Server, Answer) {
    let mut server = Server::with(configure).await;
    server.client.create("docs").await;
    let some = [document("bread", "A note about bread."), document("boats", "A note about boats.")];
    let wrote = server.client.ingest("docs", &some).await;
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let server = server.restart().await;
    let before = demand(&server.client, wrote.position()).await;
    before.assert_status(200);
    assert_eq!(before.ids().len(), 2);
    (server, before)
}

fn many() -> Vec<Value> {
    (0..MANY).map(|n| document(&format!("n{n}"), &format!("Note {n} is about rain."))).collect()
}

async fn put(client: &Client, documents: &[Value]) -> Answer {
    client.post("/v1/collections/docs/documents", &json!({ "documents": documents })).await
}

async fn delete(client: &Client, id: &str) -> Answer {
    client.delete(&format!("/v1/collections/docs/documents/{id}")).await
}

async fn demand(client: &Client, position: u64) -> Answer {
    let question = json!({ "query": "a note", "mode": "hybrid", "limit": 100 });
    ask_with(client, "search", &question, ("weir-min-position", &position.to_string())).await
}

async fn readiness(client: &Client) -> Answer {
    client.get("/health/readiness").await
}

/// Asserts that the answer is that of `before` but for a later position.
fn assert_same(answer: &Answer, before: &Answer) {
    answer.assert_status(200);
    assert_eq!(answer.body, before.body);
    assert!(answer.position() >= before.position());
}

#[tokio::test]
async fn an_index_that_cannot_grow_catches_up_when_it_can() {
    let (server, before) = server().await;
    let client = &server.client;
    server.limit_files(Some(ROOM));
    let wrote = put(client, &many()).await;
    wrote.assert_status(202);
    let position = wrote.position();
    eventually("readiness says that the index is stalled", async || {
        let ready = readiness(client).await;
        let derived = &ready.json()["derived"];
        (ready.status == 503 && derived["healthy"] == false).then(|| {
            assert!(derived["position"].as_u64() < Some(position), "{derived}");
        })
    })
    .await;
    // Reads go on at the position of the index, and writes at that of the truth.
    let now = demand(client, before.position()).await;
    assert_same(&now, &before);
    assert!(now.position() < position);
    demand(client, position).await.assert_problem(503, "position-not-reached");
    let read = client.get("/v1/collections/docs/documents/n7").await;
    assert_eq!(read.json()["version"], position);
    let deleted = delete(client, "boats").await;
    deleted.assert_status(202);

    server.limit_files(None);
    let after = eventually("the index catches up", async || {
        let answer = demand(client, deleted.position()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(after.ids().len(), 100);
    eventually("it is ready", async || (readiness(client).await.status == 200).then_some(())).await;
    let found = |query: &str| json!({ "query": query, "mode": "keyword" });
    assert!(client.search(&found("boats")).await.ids().is_empty());
    assert_eq!(client.search(&found("bread")).await.ids(), ["bread"]);
    client.ingest("docs", &[document("snow", "A note about snow.")]).await;
    assert_eq!(client.search(&found("snow")).await.ids(), ["snow"]);
}

#[tokio::test]
async fn a_kill_while_the_index_cannot_grow_loses_nothing() {
    let (server, _) = server().await;
    server.limit_files(Some(ROOM));
    let wrote = put(&server.client, &many()).await;
    wrote.assert_status(202);
    let mut server = server;
    server.kill9().await;
    let server = server.restart().await;
    let after = eventually("the index catches up", async || {
        let answer = demand(&server.client, wrote.position()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(after.ids().len(), 100);
    assert_eq!(server.client.count("docs").await, MANY as u64 + 2);
}

#[tokio::test]
async fn a_truth_that_cannot_be_written_refuses_writes_until_it_can() {
    let (server, before) = server().await;
    let client = &server.client;
    // Not even the log can be written.
    server.limit_files(Some(0));
    let snow = [document("snow", "A note about snow.")];
    for _ in 0..3 {
        put(client, &snow).await.assert_problem(503, "unavailable");
        delete(client, "boats").await.assert_problem(503, "unavailable");
        client.put("/v1/collections/notes").await.assert_problem(503, "unavailable");
        client.delete("/v1/collections/docs").await.assert_problem(503, "unavailable");
    }
    let now = demand(client, before.position()).await;
    assert_same(&now, &before);
    assert_eq!(now.position(), before.position(), "nothing was written");
    let read = client.get("/v1/collections/docs/documents/boats").await;
    read.assert_status(200);
    // It can answer questions, and says that it can do no more.
    let ready = readiness(client).await;
    ready.assert_status(200);
    assert_eq!(ready.json()["truth"]["writable"], false, "{}", ready.text());

    server.limit_files(None);
    let wrote = client.ingest("docs", &snow).await;
    assert_eq!(wrote.position(), before.position() + 1);
    client.create("notes").await;
    let after = demand(client, wrote.position()).await;
    assert_eq!(after.ids().len(), 3);
    let ready = readiness(client).await;
    assert_eq!(ready.json()["truth"]["writable"], true, "{}", ready.text());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
