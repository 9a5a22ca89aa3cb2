//! `Weir-Min-Position`, `Weir-Positions` and `Weir-Writes`: positions that clients demand, and the
//! answers that they get while collections have no common position.
//!
//! A collection lags because a large document of it is being embedded: that takes seconds.

use serde_json::{Value, json};

use super::asking::{STORED, ask, ask_with, assert_hit, assert_via, under_default};
use crate::harness::{Answer, Client, Config, Server, document, eventually};

const DEMAND: &str = "weir-min-position";

/// A question that needs no embedding, so that it does not wait behind an ingest.
fn boats() -> Value {
    json!({ "query": "boat", "mode": "keyword" })
}

/// Long enough to take seconds to embed on one thread.
fn long_text() -> String {
    (0..1_500).map(|n| format!("Boat {n} lies in the harbour of town {}. ", n % 97)).collect()
}

/// A server whose writes are answered at once, searchable or not, with `docs` and `other`.
async fn impatient(configure: impl FnOnce(&mut Config)) -> Server {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "two", "two-collections", &["embedding", "read"]);
        config.set("ingest.searchable_timeout_ms", 0).set("server.position_timeout_ms", 300);
        configure(config);
    })
    .await;
    for collection in ["docs", "other"] {
        let created = server.client.create_at_once(collection).await;
        reached(&server.client, &created).await;
    }
    server
}

/// Waits until `search` states at least the position of `wrote`.
async fn reached(client: &Client, wrote: &Answer) {
    eventually("the position is reached", async || {
        let demand = wrote.position().to_string();
        let answer = ask_with(client, "search", &boats(), (DEMAND, &demand)).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn put(client: &Client, collection: &str, id: &str, text: &str) -> Answer {
    let path = format!("/v1/collections/{collection}/documents");
    client.post(&path, &json!({ "documents": [document(id, text)] })).await
}

/// Makes `docs` lag: its new document is durable, and will not be searchable for seconds.
async fn lag(client: &Client) -> Answer {
    let wrote = put(client, "docs", "long", &long_text()).await;
    wrote.assert_status(202);
    assert_eq!(wrote.json()["searchable"], false);
    wrote
}

#[tokio::test]
async fn a_demand_is_checked() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    let wrote = client.ingest("docs", &[document("a", "A boat.")]).await;
    let (position, chain) = wrote.stated();
    let other_chain = if chain == "00000000" { "00000001" } else { "00000000" };
    let demand =
        |text: String| async move { ask_with(client, "search", &boats(), (DEMAND, &text)).await };

    for text in ["0".to_owned(), "1".to_owned(), position.to_string()] {
        let answer = demand(text).await;
        answer.assert_status(200);
        assert_eq!(answer.stated(), (position, chain.clone()));
    }
    demand(format!("{position};chain={chain}")).await.assert_status(200);
    for unknown in [(position + 1).to_string(), format!("{position};chain={other_chain}")] {
        demand(unknown).await.assert_problem(409, "unknown-position");
    }
    for malformed in ["", "-1", "x", "1.0", "1;chain=xyz", "1, 2", "1;p=2"] {
        demand(malformed.to_owned()).await.assert_problem(400, "invalid-header");
    }
    // Also where the answer is always of the last change.
    for path in ["/v1/collections", "/v1/collections/docs", "/v1/collections/docs/documents/a"] {
        for (text, status) in [(position, 200), (position + 1, 409)] {
            let request = client.request("GET", path).header(DEMAND, text.to_string());
            Answer::to(request).await.assert_status(status);
        }
    }
}

#[tokio::test]
async fn a_failure_of_a_pipeline_states_its_position() {
    let server = Server::start().await;
    let client = &server.client;
    let created = client.create_at_once("docs").await;
    let unknown = json!({ "query": "boat", "mode": "keyword", "collection": "missing" });
    let failed = ask(client, "search", &unknown).await;
    failed.assert_problem(404, "unknown-collection");
    assert_eq!(failed.stated(), created.stated());
    let created = client.create_at_once("missing").await;
    let demand = created.position().to_string();
    ask_with(client, "search", &unknown, (DEMAND, &demand)).await.assert_status(200);
    let dropped = client.delete("/v1/collections/missing").await;
    let failed = ask(client, "search", &unknown).await;
    failed.assert_problem(404, "unknown-collection");
    assert_eq!(failed.stated(), dropped.stated());
}

#[tokio::test]
async fn a_position_that_is_not_reached_in_time_is_refused() {
    let server = impatient(|_| {}).await;
    let client = &server.client;
    ask(client, "search", &boats()).await.assert_status(200);
    let wrote = lag(client).await;
    let demand = wrote.position().to_string();
    let refused = ask_with(client, "search", &boats(), (DEMAND, &demand)).await;
    refused.assert_problem(503, "position-not-reached");
    assert_eq!(refused.header("retry-after"), "1");
    // Without a demand, the cached answer is exact at an earlier position, and says so.
    let hit = ask(client, "search", &boats()).await;
    assert_hit(&hit);
    assert!(hit.position() < wrote.position(), "{hit:?}");
    reached(client, &wrote).await;
}

#[tokio::test]
async fn a_position_that_is_reached_in_time_is_waited_for() {
    let server = impatient(|config| {
        config.set("server.position_timeout_ms", 60_000);
        config.set("pipelines.search.deadline_ms", 60_000);
    })
    .await;
    let client = &server.client;
    let wrote = lag(client).await;
    let demand = wrote.position().to_string();
    let answer = ask_with(client, "search", &boats(), (DEMAND, &demand)).await;
    answer.assert_status(200);
    assert!(answer.position() >= wrote.position(), "{answer:?}");
    assert_eq!(answer.ids(), ["long"]);
}

#[tokio::test]
async fn collections_without_a_common_position_get_a_split_answer() {
    let server = impatient(|config| {
        under_default(config, "strict", "two-collections", &["embedding", "read"]);
        config.set("pipelines.strict.consistent", true);
    })
    .await;
    let client = &server.client;
    let question = json!({ "first": "docs", "second": "other", "query": "boat" });
    let common = ask(client, "two", &question).await;
    assert_via(&common, STORED);
    let lagging = lag(client).await;
    let other = put(client, "other", "b", "A boat.").await;
    eventually("the other collection has its write", async || {
        let of_other = json!({ "query": "boat", "mode": "keyword", "collection": "other" });
        let demand = other.position().to_string();
        let answer = ask_with(client, "search", &of_other, (DEMAND, &demand)).await;
        (answer.status == 200 && answer.ids() == ["b"]).then_some(())
    })
    .await;

    for _ in 0..2 {
        let split = ask(client, "two", &question).await;
        assert_via(&split, "weir; fwd=miss; detail=split");
        assert_eq!(split.header("weir-position"), "", "{split:?}");
        let positions = split.header("weir-positions");
        let before = lagging.position() - 1;
        let [docs, others]: [&str; 2] =
            positions.split(", ").collect::<Vec<_>>().try_into().unwrap();
        assert!(docs.starts_with(&format!("\"docs\";p={before};chain=")), "{positions}");
        let (position, chain) = other.stated();
        assert_eq!(others, format!("\"other\";p={position};chain={chain}"));
    }
    let refused = ask(client, "strict", &question).await;
    refused.assert_problem(503, "position-not-available");
    assert_eq!(refused.header("retry-after"), "1");

    // When the index has caught up, they have a position in common again.
    reached(client, &lagging).await;
    let common = ask(client, "two", &question).await;
    assert_via(&common, STORED);
    assert!(common.position() >= other.position());
}

#[tokio::test]
async fn one_collections_ingest_does_not_hold_back_anothers_write() {
    let server = impatient(|_| {}).await;
    let client = &server.client;
    let lagging = lag(client).await;
    let other = put(client, "other", "b", "A boat.").await;
    let of_other = json!({ "query": "boat", "mode": "keyword", "collection": "other" });
    eventually("the other collection has its write", async || {
        (ask(client, "search", &of_other).await.ids() == ["b"]).then_some(())
    })
    .await;
    let answer = ask(client, "search", &of_other).await;
    assert!(answer.position() >= other.position());
    let readiness = client.get("/health/readiness").await.json();
    let target = lagging.position();
    let lagging = &readiness["derived"]["lagging"];
    assert_eq!(lagging[0]["collection"], "docs", "{readiness}");
    assert_eq!(lagging[0]["target"], target, "{readiness}");
    assert_eq!(readiness["derived"]["lag"], 1, "{readiness}");
}

#[tokio::test]
async fn a_writing_pipeline_says_whether_its_writes_are_searchable() {
    for (timeout_ms, text, state) in
        [(60_000, "A boat.".to_owned(), "searchable"), (0, long_text(), "durable")]
    {
        let server = Server::with(|config| {
            config.search();
            under_default(config, "writer", "writer", &["write"]);
            config.set("ingest.searchable_timeout_ms", timeout_ms);
        })
        .await;
        server.client.create_at_once("docs").await;
        let body = json!({ "collection": "docs", "id": "a", "text": text });
        let wrote = ask(&server.client, "writer", &body).await;
        wrote.assert_status(200);
        assert_eq!(wrote.header("weir-writes"), state, "{wrote:?}");
    }
}
