//! `Weir-Position`: the position of a write, the one at which an answer is exact, and that neither
//! goes back.

use serde_json::json;

use super::asking::{STORED, ask, assert_hit, assert_via};
use crate::harness::{Server, document};

#[tokio::test]
async fn writes_get_positions_and_answers_are_exact_at_them() {
    let server = Server::start().await;
    let client = &server.client;
    let question = json!({ "query": "flour" });
    let mut last = 0;
    let mut later = |position: u64| {
        assert!(position > last, "{position} after {last}");
        last = position;
        position
    };
    let created = client.put("/v1/collections/docs").await;
    created.assert_status(201);
    later(created.position());

    let bread = [document("bread", "Bread is baked from flour.")];
    let wrote = client.ingest("docs", &bread).await;
    assert_eq!(wrote.json()["position"], later(wrote.position()));
    for _ in 0..2 {
        assert_eq!(client.search(&question).await.position(), wrote.position());
    }
    let read = client.get("/v1/collections/docs/documents/bread").await;
    assert_eq!(read.position(), wrote.position());
    assert_eq!(read.json()["version"], wrote.position());

    let same = client.ingest("docs", &bread).await;
    assert_eq!(same.position(), wrote.position(), "nothing changed");

    let deleted = client.delete("/v1/collections/docs/documents/bread").await;
    deleted.assert_status(200);
    later(deleted.position());
    assert_eq!(client.search(&question).await.position(), deleted.position());

    let dropped = client.delete("/v1/collections/docs").await;
    dropped.assert_status(200);
    later(dropped.position());
}

#[tokio::test]
async fn documents_of_one_request_share_a_position() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    let wrote = client.ingest("docs", &[document("a", "One."), document("b", "Two.")]).await;
    for id in ["a", "b"] {
        let read = client.get(&format!("/v1/collections/docs/documents/{id}")).await;
        assert_eq!(read.json()["version"], wrote.position(), "{id}");
    }
}

#[tokio::test]
async fn a_hit_is_exact_at_the_latest_position_while_others_write() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    client.create("other").await;
    client.ingest("docs", &[document("bread", "Bread is baked from flour.")]).await;
    let question = json!({ "query": "flour" });
    let first = client.search(&question).await;
    assert_via(&first, STORED);
    for round in 0..5 {
        let wrote = client.ingest("other", &[document("n", &format!("Round {round}."))]).await;
        let hit = client.search(&question).await;
        assert_hit(&hit);
        assert_eq!(hit.position(), wrote.position());
        assert_eq!(hit.body, first.body);
    }
}

#[tokio::test]
async fn the_positions_that_one_client_reads_do_not_go_back() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    client.create("other").await;
    let mut last = 0;
    for round in 0..10 {
        let collection = if round % 2 == 0 { "docs" } else { "other" };
        let wrote = client.ingest(collection, &[document("d", &format!("Round {round}."))]).await;
        let hot = ask(client, "search", &json!({ "query": "round" })).await;
        let cold = ask(client, "search", &json!({ "query": format!("round {round}") })).await;
        for answer in [&wrote, &hot, &cold] {
            assert!(answer.position() >= last, "{} after {last}: {answer:?}", answer.position());
            last = answer.position();
        }
        assert_eq!(last, wrote.position());
    }
}

/// A question is answered again and again while a write is acknowledged. Every answer to a later
/// request contains the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_write_is_in_every_later_answer() {
    let server = Server::start().await;
    let client = server.client.clone();
    client.create("docs").await;
    let question = json!({ "query": "number", "mode": "keyword", "limit": 100 });
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (client, question) = (client.clone(), question.clone());
            tokio::spawn(async move {
                let mut most = 0;
                while most < 20 {
                    let found = client.search(&question).await.ids().len();
                    assert!(found >= most, "{found} documents after {most}");
                    most = found;
                }
            })
        })
        .collect();
    for number in 1..=20 {
        let wrote = client.ingest("docs", &[document(&number.to_string(), "A number.")]).await;
        let answer = client.search(&question).await;
        assert_eq!(answer.ids().len(), number, "{answer:?}");
        assert!(answer.position() >= wrote.position(), "{answer:?} after {wrote:?}");
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_keeps_positions() {
    let server = Server::start().await;
    server.client.create("docs").await;
    let documents = [document("bread", "Bread is baked from flour.")];
    let wrote = server.client.ingest("docs", &documents).await;
    let question = json!({ "query": "flour" });
    let before = server.client.search(&question).await;

    let server = server.restart().await;
    let after = server.client.search(&question).await;
    assert_via(&after, STORED);
    assert_eq!((after.position(), &after.body), (wrote.position(), &before.body));
    assert_eq!(after.header("etag"), before.header("etag"));
    let next = server.client.ingest("docs", &[document("mill", "A mill grinds.")]).await;
    assert_eq!(next.position(), wrote.position() + 1);
}
