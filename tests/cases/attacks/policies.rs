//! What a policy can do to others, by `tests/guests/policy-attacks`: it takes memory without end, or
//! invents tags.

use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::super::asking::{STORED, ask, assert_hit, assert_via};
use super::while_attacked;
use crate::harness::{Client, Config, Server, document, guest, plugin};

/// As many tags as one tenant's table has room for: the attack has 25 times as many.
const TAGS: i64 = 256;
/// Requests of an attack.
const REQUESTS: usize = 100;

/// Hosts `search` and, as `it`, `echo` under the policy that attacks.
fn under_attack(config: &mut Config) {
    config
        .search()
        .policy("its", &guest("policy-attacks"))
        .pipeline("it", &plugin("echo"), &[])
        .set("pipelines.it.policy", "its");
}

fn attack(name: &str, number: usize) -> Value {
    json!({ "attack": name, "number": number })
}

async fn failures(client: &Client) -> f64 {
    client.metric("weir_policy_failures_total", &[("policy", "its")]).await
}

/// All decisions together take more memory than there is for guests, so it is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_takes_memory_without_end_fails_its_decision() {
    const AT_ONCE: usize = 2;
    const DECISIONS: usize = 12;
    let server = Server::with(|config| {
        under_attack(config);
        config
            .set("engine.max_guests_memory_bytes", 192 << 20)
            .set("engine.max_concurrent_decisions", 4)
            .set("engine.queue_timeout_ms", 60_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let mut asked = 0;
    let mut honest = async || {
        asked += 1;
        let question = json!({ "query": format!("a new question about boats {asked}") });
        assert_eq!(client.search(&question).await.ids(), ["a"]);
    };
    for (name, via) in [
        ("grow-in-key", "weir; fwd=bypass; detail=policy"),
        ("grow-in-admit", "weir; fwd=miss; detail=policy-failed"),
    ] {
        let before = failures(client).await;
        let asked = (0..DECISIONS).map(|number| async move {
            let request = attack(name, number);
            let answer = ask(client, "it", &request).await;
            assert_via(&answer, via);
            assert_eq!(answer.json(), request);
        });
        let asked = stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>();
        while_attacked(asked, &mut honest).await;
        assert_eq!(failures(client).await - before, DECISIONS as f64, "{name}");
    }
    // Other decisions of the same policy, and their slots.
    for _ in 0..8 {
        ask(client, "it", &attack("none", 0)).await.assert_status(200);
    }
    assert_hit(&ask(client, "it", &attack("none", 0)).await);
}

#[tokio::test]
async fn a_policy_that_takes_memory_without_end_when_it_is_loaded_is_refused() {
    let ended = Server::refused(|config| {
        under_attack(config);
        config.set("policies.its.settings.attack", "grow-in-plan");
    });
    ended.await.assert_refused(&["[policies.its]", "the policy 'its' failed", "fuel"]);
}

/// The tags that the host remembers are bounded, and those that a policy invents end no answer that has
/// none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_a_policy_invents_end_only_its_own_answers() {
    let server = Server::with(|config| {
        under_attack(config);
        config.set("cache.max_tags", TAGS);
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("a", "A note about boats.")]).await;
    // From now on, the collection has not changed more recently than what the policy invents.
    let server = server.restart().await;
    let client = &server.client;
    let question = json!({ "query": "boats" });
    assert_via(&client.search(&question).await, STORED);
    for number in 0..REQUESTS {
        assert_via(&ask(client, "it", &attack("tags", number)).await, STORED);
        assert_hit(&client.search(&question).await);
    }
    // The host has forgotten the first tags.
    assert_via(&ask(client, "it", &attack("tags", 0)).await, STORED);
}
