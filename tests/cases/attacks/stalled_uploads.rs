//! Uploads that stall: they hold what has arrived of them, and nothing that others need.

use serde_json::json;

use crate::harness::{Client, Raw, Server, document};

const PATH: &str = "/v1/collections/docs/documents";

/// Begins an upload of documents that announces `length` bytes and sends only the first of them.
async fn begin(server: &Server, length: usize, sent: &str) -> Raw {
    let mut raw = Raw::connect(server.address).await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    raw.send(head + sent).await;
    raw
}

async fn assert_writes_are_carried_out(client: &Client) {
    for number in 0..3 {
        client.ingest("docs", &[document(&format!("d{number}"), "A note about boats.")]).await;
    }
    let question = json!({ "query": "boats", "mode": "keyword" });
    assert_eq!(client.search(&question).await.ids().len(), 3);
}

#[tokio::test]
async fn uploads_that_stall_hold_up_nobody() {
    let server = Server::with(|config| {
        config.search().set("ingest.body_timeout_ms", 600_000);
    })
    .await;
    server.client.create("docs").await;
    let mut stalled = Vec::new();
    for _ in 0..32 {
        let raw = begin(&server, 1 << 20, "{\"documents\":[").await;
        raw.taken().await;
        stalled.push(raw);
    }
    assert_writes_are_carried_out(&server.client).await;
    assert_eq!(stalled.len(), 32, "they are still open");
}

#[tokio::test]
async fn bodies_that_are_announced_and_never_come_hold_nothing() {
    let server = Server::with(|config| {
        // Room for two of the largest bodies.
        config.search().set("ingest.max_bodies_bytes", 128 << 20);
        config.set("ingest.body_timeout_ms", 600_000);
    })
    .await;
    server.client.create("docs").await;
    let mut announced = Vec::new();
    for _ in 0..300 {
        announced.push(begin(&server, 64 << 20, "").await);
    }
    for raw in &announced {
        raw.taken().await;
    }
    assert_writes_are_carried_out(&server.client).await;
}

#[tokio::test]
async fn an_upload_that_stalls_ends() {
    let server = Server::with(|config| {
        config.search().set("ingest.body_timeout_ms", 300);
    })
    .await;
    server.client.create("docs").await;
    let mut raw = begin(&server, 1 << 20, "{").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("body-timeout"));
    assert_writes_are_carried_out(&server.client).await;
}
