//! Clients that send a new question and drop the connection at once: the server must not go on with
//! what nobody waits for, or keep its place.

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::super::asking::{ask, path};
use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Client, Raw, Server, document, guest};

/// Requests to each pipeline: more than may wait for its slots (1,024).
const ABANDONED: usize = 1_200;
const AT_ONCE: usize = 16;
const SLOTS: usize = 4;

/// A server with few slots. It hosts `search`, whose questions have keys, and `slow`, which is not
/// cached, computes for as long as it is asked to, and has an hour for it.
async fn server() -> Server {
    Server::with(|config| {
        config
            .search()
            .pipeline("slow", &guest("slow-reader"), &["read", "logging"])
            .set("pipelines.slow.deadline_ms", 3_600_000)
            .set("pipelines.search.deadline_ms", 60_000)
            .set("engine.max_concurrent_guests", SLOTS as i64)
            .set("engine.queue_timeout_ms", 60_000);
    })
    .await
}

/// Sends requests and drops each connection as soon as its request is sent.
async fn abandon(server: &Server, pipeline: &str, count: usize, body: impl Fn(usize) -> Value) {
    let abandoned = (0..count).map(|number| {
        let body = body(number).to_string();
        async move {
            let mut raw = Raw::connect_from(ATTACKER, server.address).await;
            let (path, length) = (path(pipeline), body.len());
            raw.send(format!(
                "POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            ))
            .await;
        }
    });
    stream::iter(abandoned).buffer_unordered(AT_ONCE).collect::<()>().await;
}

fn slow(work: u64) -> Value {
    json!({ "collection": "docs", "text": "boats", "work": work })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_requests_give_their_places_back() {
    let server = server().await;
    let client = &Client::keeping_one(server.address);
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let attack = async {
        let question = |n: usize| json!({ "query": format!("boats {n}"), "mode": "keyword" });
        futures::join!(
            abandon(&server, "search", ABANDONED, question),
            abandon(&server, "slow", ABANDONED, |_| slow(1 << 50)),
        )
    };
    let mut asked = 0;
    let honest = async || {
        asked += 1;
        let question = json!({ "query": format!("a new question about boats {asked}") });
        assert_eq!(client.search(&question).await.ids(), ["a"]);
    };
    while_attacked(attack, honest).await;
    connections_are_back(client).await;
    // Slots of the pipeline that was abandoned, and places to wait for them.
    let asked = join_all((0..4 * SLOTS).map(async |_| ask(client, "slow", &slow(1)).await)).await;
    for answer in asked {
        answer.assert_status(200);
        assert_eq!(answer.json(), json!({ "ids": ["a"] }));
    }
}
