//! A client that asks a pipeline for as much as it can, with questions that compute until their deadline:
//! another client of the same pipeline still gets answers.

use futures::future::join_all;
use serde_json::{Value, json};

use super::super::asking::{ask, path, searched};
use super::{ATTACKER, connections_are_back};
use crate::harness::{Client, Raw, Server, document, guest};

/// Half of them are the pipeline's, and two thirds of those one client's.
const SLOTS: i64 = 12;
const ASKED: usize = 100;

fn slow(work: u64) -> Value {
    json!({ "collection": "docs", "text": "boats", "work": work })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_leaves_runs_of_a_pipeline_to_another() {
    let server = Server::with(|config| {
        config
            .pipeline("slow", &guest("slow-reader"), &["read", "logging"])
            .set("pipelines.slow.deadline_ms", 3_600_000)
            .set("engine.max_concurrent_guests", SLOTS)
            .set("engine.queue_timeout_ms", 60_000);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let body = slow(1 << 50).to_string();
    let request = &format!(
        "POST {} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        path("slow"),
        body.len()
    );
    let asked = (0..ASKED).map(async |_| {
        let mut raw = Raw::connect_from(ATTACKER, server.address).await;
        raw.send(request).await;
        raw
    });
    let attackers = join_all(asked).await;
    // All that one client gets: two thirds of the pipeline's six.
    searched(&server, 4).await;
    for _ in 0..20 {
        let answer = ask(client, "slow", &slow(1)).await;
        answer.assert_status(200);
        assert_eq!(answer.json(), json!({ "ids": ["a"] }));
    }
    drop(attackers);
    connections_are_back(client).await;
}
