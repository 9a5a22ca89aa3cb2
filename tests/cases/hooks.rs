//! What policies decide with the hooks `failures` and `changes`, and what happens if they fail.

use serde_json::{Value, json};

use super::asking::{STORED, ask, assert_via, begin, runs, searched};
use crate::harness::{Answer, Client, Config, Server, document, guest, plugin};

const SEARCHED: &str = "docs";

fn under_hooks(config: &mut Config) {
    config.policy("hooks", &guest("policy-hooks"));
}

/// A server whose pipeline `it` fails with the id of the document that switches it, after it has answered
/// once.
async fn answered_once() -> Server {
    let server = Server::with(|config| {
        under_hooks(config);
        config
            .set("policies.hooks.settings.short", 1)
            .pipeline("it", &guest("fails-by-document"), &["read"])
            .set("pipelines.it.policy", "hooks");
    })
    .await;
    server.client.create(SEARCHED).await;
    assert_via(&ask(&server.client, "it", &json!({ "collection": SEARCHED })).await, STORED);
    server
}

/// Has the pipeline fail with this code, and asks it.
async fn fail(client: &Client, code: &str) -> Answer {
    client.ingest(SEARCHED, &[document(code, "A switch.")]).await;
    ask(client, "it", &json!({ "collection": SEARCHED })).await
}

#[track_caller]
fn assert_covered(answer: &Answer) {
    answer.assert_status(200);
    let status = answer.header("cache-status");
    assert!(status.ends_with("; detail=stale-after-change"), "{answer:?}");
    assert_eq!(answer.json(), json!([]));
}

#[tokio::test]
async fn a_policy_decides_whether_a_failure_is_covered() {
    for (code, is_covered) in [("covered", true), ("uncovered", false), ("unforeseen", true)] {
        let server = answered_once().await;
        let answer = fail(&server.client, code).await;
        if is_covered {
            assert_covered(&answer);
        } else {
            answer.assert_problem(500, code);
        }
        let failed = [("policy", "hooks")];
        let failures = server.client.metric("weir_policy_failures_total", &failed).await;
        assert_eq!(failures > 0.0, code == "unforeseen", "{code}");
    }
}

#[tokio::test]
async fn a_policy_decides_whether_a_failure_is_kept() {
    for (code, runs_of_two) in [("kept", 1.0), ("covered", 2.0), ("unforeseen", 2.0)] {
        let server = answered_once().await;
        let client = &server.client;
        fail(client, code).await;
        let before = runs(client, "it").await;
        let again = ask(client, "it", &json!({ "collection": SEARCHED })).await;
        assert_covered(&again);
        assert_eq!(runs(client, "it").await - before, runs_of_two - 1.0, "{code}");
    }
}

/// A server with two answers of `it` that depend on nothing but their tags, and one of `other`, whose
/// policy is another.
async fn tagged() -> Server {
    let server = Server::with(|config| {
        under_hooks(config);
        config.policy("default", &plugin("policy-default")).set("cache.shared.backend", "disk");
        for (name, policy) in [("it", "hooks"), ("other", "default")] {
            config
                .pipeline(name, &plugin("echo"), &[])
                .set(&format!("pipelines.{name}.policy"), policy);
        }
    })
    .await;
    server.client.create(SEARCHED).await;
    make(&server.client).await;
    server
}

fn tag(tag: &str) -> Value {
    json!({ "tag": tag })
}

async fn make(client: &Client) {
    for of in ["a", "b"] {
        assert_via(&ask(client, "it", &tag(of)).await, STORED);
    }
    ask(client, "other", &json!({})).await.assert_status(200);
}

/// Asserts which of the answers of [`tagged`] are hits.
async fn assert_hits(client: &Client, a: bool, b: bool, what: &str) {
    for (of, is_hit) in [("a", a), ("b", b)] {
        let answer = ask(client, "it", &tag(of)).await;
        let status = answer.header("cache-status");
        assert_eq!(status.starts_with("weir; hit"), is_hit, "{what}: {of}: {answer:?}");
    }
    let other = ask(client, "other", &json!({})).await;
    assert!(other.header("cache-status").starts_with("weir; hit"), "{what}: {other:?}");
}

async fn put(client: &Client, id: &str) {
    client.ingest(SEARCHED, &[document(id, "A note.")]).await;
}

#[tokio::test]
async fn a_change_ends_what_the_policy_says_before_it_is_seen() {
    let server = tagged().await;
    let client = &server.client;
    assert_hits(client, true, true, "nothing has changed").await;
    put(client, "c").await;
    assert_hits(client, true, true, "another").await;
    put(client, "a").await;
    assert_hits(client, false, true, "put").await;
    client.delete(&format!("/v1/collections/{SEARCHED}/documents/a")).await.assert_status(200);
    assert_hits(client, false, true, "deleted").await;
    let both = [document("a", "A note."), document("b", "A note.")];
    client.ingest(SEARCHED, &both).await;
    assert_hits(client, false, false, "both").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_a_change_is_not_given_what_was_begun_before() {
    let server = Server::with(|config| {
        under_hooks(config);
        config
            .pipeline("slow", &guest("slow-reader"), &["read", "logging"])
            .set("pipelines.slow.policy", "hooks")
            .set("pipelines.slow.deadline_ms", 120_000);
    })
    .await;
    let client = &server.client;
    for collection in [SEARCHED, "control"] {
        client.create(collection).await;
    }
    let question =
        json!({ "collection": SEARCHED, "text": "harbour", "work": 400_000, "tag": "a" });
    let _leader = begin(&server, "slow", &question).await;
    searched(&server, 1).await;
    client.ingest("control", &[document("a", "A note.")]).await;
    assert_eq!(runs(client, "slow").await, 0.0, "it has not ended");
    assert_via(&ask(client, "slow", &question).await, STORED);
    assert_eq!(runs(client, "slow").await, 2.0);
}

#[tokio::test]
async fn a_policy_that_cannot_say_ends_everything_of_its_pipelines() {
    for id in ["trap", "too-many"] {
        let server = tagged().await;
        let client = &server.client;
        put(client, id).await;
        assert_hits(client, false, false, id).await;
        server.logged("everything that was kept for the pipelines with this policy ends").await;
        put(client, "a").await;
        assert_hits(client, false, true, "it goes on").await;
    }
}

#[tokio::test]
async fn after_a_restart_answers_are_found_unless_something_has_changed() {
    for changes in [false, true] {
        let mut server = tagged().await;
        if changes {
            put(&server.client, "c").await;
        }
        server.sigterm();
        assert!(server.wait().await.success(), "{}", server.log());
        let server = server.restart().await;
        assert_hits(&server.client, !changes, !changes, "restarted").await;
    }
}
