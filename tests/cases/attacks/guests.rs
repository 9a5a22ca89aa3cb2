//! What a guest can do to the host, by `tests/guests/attacks`: each ends its own request with a code,
//! and leaves nothing behind.

use serde_json::{Value, json};

use super::super::asking::ask;
use crate::harness::{Answer, Client, Server, document, guest, plugin};

/// A server that hosts the guest with a small number of slots, and `echo` next to it.
async fn under_attack() -> Server {
    let server = Server::with(|config| {
        config
            .search()
            .pipeline("attacks", &guest("attacks"), &["embedding", "read", "logging"])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.max_concurrent_guests", 8)
            .set("engine.queue_timeout_ms", 60_000)
            .set("pipelines.attacks.deadline_ms", 60_000);
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("a", "A note about boats.")]).await;
    server
}

async fn attack(client: &Client, body: Value) -> Answer {
    ask(client, "attacks", &body).await
}

async fn assert_unharmed(client: &Client) {
    let request = json!({ "still": "there" });
    assert_eq!(ask(client, "echo", &request).await.json(), request);
    let question = json!({ "query": "boats", "mode": "keyword" });
    assert_eq!(client.search(&question).await.ids(), ["a"]);
    client.get("/health/readiness").await.assert_status(200);
}

/// Their deadline is an hour: they end because nothing can wake them.
#[tokio::test]
async fn a_guest_that_waits_for_nothing_ends_at_once() {
    let server = Server::with(|config| {
        config
            .pipeline("waits-for-nothing", &guest("waits-for-nothing"), &[])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.max_concurrent_guests", 4)
            .set("engine.queue_timeout_ms", 60_000)
            .set("pipelines.waits-for-nothing.deadline_ms", 3_600_000);
    })
    .await;
    let client = &server.client;
    let attacks = (0..20).map(async |n| ask(client, "waits-for-nothing", &json!(n)).await);
    for answer in futures::future::join_all(attacks).await {
        answer.assert_problem(500, "pipeline-trapped");
    }
    server.logged("deadlock").await;
    assert_eq!(ask(client, "echo", &json!(1)).await.json(), json!(1));
}

#[tokio::test]
async fn searches_that_a_guest_does_not_await_are_bounded_and_end_with_it() {
    let server = under_attack().await;
    let client = &server.client;
    let of = |searches: usize, values: usize, value_bytes: usize| {
        json!({
            "attack": "searches", "collection": "docs", "searches": searches, "values": values,
            "value_bytes": value_bytes,
        })
    };
    // Each is charged before it waits, so the bytes of a request end somewhere.
    let answer = attack(client, of(5_000, 200, 1_000)).await;
    answer.assert_status(200);
    let done = &answer.json()["done"];
    assert!(done["refused"].as_u64() > Some(4_500), "{done}");
    // Filters that are too large are refused before they are charged for a search.
    let answer = attack(client, of(20, 5_000, 1_000)).await;
    answer.assert_status(200);
    assert_eq!(answer.json()["done"]["refused"], 20);
    assert_unharmed(client).await;
}

#[tokio::test]
async fn what_a_guest_makes_the_host_keep_is_bounded() {
    let server = under_attack().await;
    let client = &server.client;
    for name in ["parts", "handles"] {
        attack(client, json!({ "attack": name })).await.assert_problem(500, "pipeline-trapped");
        assert_unharmed(client).await;
    }
}

#[tokio::test]
async fn lists_are_bounded() {
    let server = under_attack().await;
    let client = &server.client;
    let pass = async |texts: usize, text_bytes: usize| {
        let body = json!({ "attack": "lists", "texts": texts, "text_bytes": text_bytes });
        attack(client, body).await
    };
    assert_eq!(pass(2, 10).await.json()["done"], 2);
    // More than a host call may receive,
    pass(1, 16 << 20).await.assert_problem(507, "answer-too-large");
    pass(1_000_000, 1).await.assert_problem(507, "answer-too-large");
    // and more than the guest's memory.
    pass(1, 64 << 20).await.assert_problem(507, "memory-exceeded");
    assert_unharmed(client).await;
}

/// The guest's stack is bounded by wasmtime. What the host does on its behalf runs on what is left of
/// the same fiber, and an overflow there would end the process.
#[tokio::test]
async fn the_hosts_part_of_the_stack_does_not_overflow() {
    let server = under_attack().await;
    let client = &server.client;
    let ends = async |depth: u64| {
        let answer = attack(client, json!({ "attack": "stack", "depth": depth })).await;
        match answer.status {
            200 => false,
            _ => {
                answer.assert_problem(500, "stack-overflow");
                true
            }
        }
    };
    let (mut fits, mut overflows) = (0, 1 << 20);
    assert!(ends(overflows).await && !ends(fits).await);
    while overflows - fits > 1 {
        let middle = u64::midpoint(fits, overflows);
        if ends(middle).await { overflows = middle } else { fits = middle }
    }
    assert!(fits > 100, "the stack ends at a depth of {fits}");
    assert_unharmed(client).await;
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded() {
    let server = under_attack().await;
    let client = &server.client;
    attack(client, json!({ "attack": "logs" })).await.assert_status(200);
    let labels = [("pipeline", "attacks")];
    let dropped = client.metric("weir_guest_log_lines_dropped_total", &labels).await;
    assert!(dropped > 9_000.0, "{dropped} of 10,000 lines");
    assert_unharmed(client).await;
    // The burst, in which a backslash may be written twice, and the host's own lines.
    let written = server.log().len();
    assert!(written < 4 << 20, "{written} bytes");
}
