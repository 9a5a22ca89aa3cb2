//! Pipelined requests, each with a key that nobody has asked for before, as fast as they go: what they
//! leave behind is bounded.

use futures::future::join_all;
use serde_json::{Value, json};

use super::super::asking::{ask, assert_hit, path};
use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Client, Raw, Server, document, plugin};

const CONNECTIONS: usize = 2;
/// Of each connection.
const KEYS: usize = 5_000;
/// Requests that are sent in one piece.
const PIPELINED: usize = 50;
const ANSWER_BYTES: usize = 1 << 10;
/// The memory of the cache, for a tenth of the answers.
const MEMORY_BYTES: usize = CONNECTIONS * KEYS * ANSWER_BYTES / 10;

fn body(number: usize) -> Value {
    json!({ "number": number, "padding": "x".repeat(ANSWER_BYTES) })
}

/// Asks for each of the keys once, in an order of those of a connection, and expects an answer to each.
async fn ask_for_all(server: &Server, order: fn(usize) -> usize) {
    let asked = (0..CONNECTIONS).map(|connection| async move {
        let mut raw = Raw::connect_from(ATTACKER, server.address).await;
        for first in (0..KEYS).step_by(PIPELINED) {
            let numbers = (first..first + PIPELINED).map(|n| connection * KEYS + order(n));
            let request = |number| {
                let (path, body) = (path("echo"), body(number).to_string());
                let length = body.len();
                format!(
                    "POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n{body}"
                )
            };
            raw.send(numbers.map(request).collect::<String>()).await;
            for _ in 0..PIPELINED {
                let (head, _) = raw.answer().await;
                assert!(head.starts_with("http/1.1 200"), "{head}");
            }
        }
    });
    join_all(asked).await;
}

async fn hits(client: &Client) -> f64 {
    let labels = [("pipeline", "echo"), ("outcome", "hit")];
    client.metric("weir_cache_lookups_total", &labels).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_keys_take_no_more_than_the_memory_of_the_cache() {
    let server = Server::with(|config| {
        config
            .search()
            .pipeline("echo", &plugin("echo"), &[])
            .set("pipelines.echo.policy", "default")
            .set("cache.memory_bytes", MEMORY_BYTES as i64)
            // What else is kept of a key.
            .set("cache.max_flights", 64);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    ask(client, "echo", &body(CONNECTIONS * KEYS)).await.assert_status(200);
    assert_hit(&ask(client, "echo", &body(CONNECTIONS * KEYS)).await);

    let mut asked = 0;
    let honest = async || {
        asked += 1;
        for query in ["boats".to_owned(), format!("a new question about boats {asked}")] {
            assert_eq!(client.search(&json!({ "query": query })).await.ids(), ["a"]);
        }
    };
    while_attacked(ask_for_all(&server, |n| n), honest).await;
    // Each key is asked for once again, so a hit is an answer that was kept until now. The last ones
    // first, as the others are more likely to have been evicted, and are stored again.
    let before = hits(client).await;
    ask_for_all(&server, |n| KEYS - 1 - n).await;
    let kept_bytes = (hits(client).await - before) * ANSWER_BYTES as f64;
    assert!(kept_bytes <= MEMORY_BYTES as f64, "{kept_bytes} bytes were kept");
    connections_are_back(client).await;
}
