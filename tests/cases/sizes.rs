//! The two sizes of guests: what a large one has more of, and that neither takes the other's slots.

use serde_json::{Value, json};

use super::asking::ask;
use crate::harness::{Client, Config, Server, eventually, guest, plugin};

const MIB: i64 = 1 << 20;

/// Hosts a guest in both sizes: under its name, and as `large-NAME`.
fn both(config: &mut Config, name: &str) {
    let large = format!("large-{name}");
    config
        .pipeline(name, &guest(name), &[])
        .pipeline(&large, &guest(name), &[])
        .set(&format!("pipelines.{large}.size"), "large");
}

#[tokio::test]
async fn what_is_too_much_for_a_small_guest_a_large_one_can_have() {
    let server = Server::with(|config| {
        config
            .set("engine.max_memory_bytes", 4 * MIB)
            .set("engine.max_answer_bytes", 16 * MIB)
            .set("engine.large.max_memory_bytes", 64 * MIB)
            .set("engine.large.max_concurrent_guests", 2);
        both(config, "huge-answer");
        both(config, "allocate-forever");
    })
    .await;
    let client = &server.client;
    let request = json!({ "bytes": 8 * MIB });
    ask(client, "huge-answer", &request).await.assert_problem(507, "memory-exceeded");
    let answer = ask(client, "large-huge-answer", &request).await;
    answer.assert_status(200);
    assert_eq!(answer.body.len() as i64, 8 * MIB);
    // It has a limit, too.
    let answer = ask(client, "large-allocate-forever", &json!({})).await;
    answer.assert_problem(507, "memory-exceeded");
    let pooled = [("engine", "large-pipelines")];
    assert_eq!(client.metric("weir_engine_pooled", &pooled).await, 1.0);
}

/// Asks `name` until it is refused for lack of a slot.
async fn every_slot_is_taken(client: &Client, name: &str) {
    eventually("every slot of its size is taken", async || {
        let answer = ask(client, name, &json!("new")).await;
        (answer.status == 503).then(|| answer.assert_problem(503, "overloaded"))
    })
    .await;
}

#[tokio::test]
async fn guests_of_one_size_do_not_take_slots_of_the_other() {
    let server = Server::with(|config| {
        config
            .set("engine.max_concurrent_guests", 1)
            .set("engine.large.max_concurrent_guests", 1)
            .set("engine.queue_timeout_ms", 1_000)
            .set("engine.deadline_ms", 600_000)
            .pipeline("echo", &plugin("echo"), &[])
            .pipeline("large-echo", &plugin("echo"), &[])
            .set("pipelines.large-echo.size", "large");
        both(config, "loop-forever");
    })
    .await;
    let client = &server.client;
    for (looping, crowded, other) in
        [("large-loop-forever", "large-echo", "echo"), ("loop-forever", "echo", "large-echo")]
    {
        let looping = {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, looping, &Value::Null).await })
        };
        every_slot_is_taken(client, crowded).await;
        for number in 0..3 {
            assert_eq!(ask(client, other, &json!(number)).await.json(), json!(number));
        }
        assert!(!looping.is_finished());
        looping.abort();
        eventually("the slot is free again", async || {
            (ask(client, crowded, &json!("again")).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_large_guest_is_interrupted_at_its_deadline() {
    let server = Server::with(|config| {
        config.set("engine.large.max_concurrent_guests", 1).set("engine.deadline_ms", 100);
        both(config, "loop-forever");
    })
    .await;
    for name in ["large-loop-forever", "loop-forever"] {
        let answer = ask(&server.client, name, &json!({})).await;
        answer.assert_problem(504, "deadline-exceeded");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_at_the_start() {
    let ended = Server::refused(|config| {
        config.pipeline("echo", &plugin("echo"), &[]).set("pipelines.echo.size", "large");
    });
    ended.await.assert_refused(&["[pipelines.echo]", "set engine.large.max_concurrent_guests"]);
    // Less memory than the component has at its start.
    let ended = Server::refused(|config| {
        config.pipeline("echo", &plugin("echo"), &[]).set("engine.max_memory_bytes", 65_536);
    });
    let says = ["[pipelines.echo]", "needs more than its guests have", "size = \"large\""];
    ended.await.assert_refused(&says);
    let ended = Server::refused(|config| {
        config
            .pipeline("echo", &plugin("echo"), &[])
            .set("pipelines.echo.max_memory_bytes", 65_536);
    });
    ended.await.assert_refused(&says);
    let ended = Server::refused(|config| {
        config
            .set("engine.large.max_memory_bytes", 512 * MIB)
            .set("engine.large.max_concurrent_guests", 1);
    });
    ended.await.assert_refused(&["engine.max_guests_memory_bytes = 1073741824: must be"]);
}
