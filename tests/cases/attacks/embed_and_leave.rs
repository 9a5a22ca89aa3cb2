//! Clients that have many long texts embedded, and do not wait for them.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Server, document};

const CLIENTS: usize = 4;
const REQUESTS_OF_A_CLIENT: usize = 12;
const TEXTS: usize = 256;
/// How long a client waits: long enough for its texts to be queued, too short for an answer.
const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_that_nobody_waits_for_do_not_delay_questions() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let leavers = (0..CLIENTS).map(|number| async move {
        for request in 0..REQUESTS_OF_A_CLIENT {
            let text = |n| format!("{number} {request} {n} {}", "boats and harbours ".repeat(70));
            let texts: Vec<_> = (0..TEXTS).map(text).collect();
            let body = json!({ "input": texts, "model": "all-MiniLM-L6-v2" });
            // It leaves, or is refused.
            let _ = timeout(PATIENCE, client.post("/v1/embeddings", &body)).await;
        }
    });
    let neighbour = async {
        for number in 0..10 {
            let question = json!({ "query": format!("a new question about boats {number}") });
            assert_eq!(client.search(&question).await.ids(), ["a"]);
        }
    };
    futures::join!(futures::future::join_all(leavers), neighbour);
    // The room of what was left is free.
    let body = json!({ "input": "boats again", "model": "all-MiniLM-L6-v2" });
    client.post("/v1/embeddings", &body).await.assert_status(200);
}
