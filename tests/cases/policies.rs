//! What cache policies decide, and what happens if one fails or is invalid.

use serde_json::{Value, json};

use super::asking::{STORED, ask, ask_with, assert_hit, assert_via, runs, under_default};
use crate::harness::{Answer, Server, guest, plugin};

const BYPASS: &str = "weir; fwd=bypass; detail=policy";

/// A server that hosts `pipeline` as `it`, under the guest `policy` as its policy.
async fn under(policy: &str, pipeline: std::path::PathBuf) -> Server {
    Server::with(|config| {
        config
            .policy("its", &guest(policy))
            .pipeline("it", &pipeline, &[])
            .set("pipelines.it.policy", "its");
    })
    .await
}

async fn with_segment(server: &Server, request: &Value, segment: &str) -> Answer {
    ask_with(&server.client, "it", request, ("x-segment", segment)).await
}

#[tokio::test]
async fn a_key_of_fields_shows_the_pipeline_only_those_fields() {
    let server = under("policy-keying", plugin("echo")).await;
    let client = &server.client;
    let first = ask(client, "it", &json!({ "query": "Ham AND Eggs", "user": "anna" })).await;
    assert_via(&first, STORED);
    assert_eq!(first.json(), json!({ "query": "ham and eggs" }), "as it was hashed");
    for same in [
        json!({ "query": "ham and eggs" }),
        json!({ "query": "HAM AND EGGS", "user": "bert", "limit": 3 }),
    ] {
        let answer = ask(client, "it", &same).await;
        assert_hit(&answer);
        assert_eq!(answer.body, first.body, "{same}");
    }
    for (other, seen) in [
        (json!({ "query": "ham" }), json!({ "query": "ham" })),
        (json!({ "query": null }), json!({ "query": null })),
        (json!({ "query": ["Ham"] }), json!({ "query": ["Ham"] })),
        (json!({ "user": "anna" }), json!({})),
    ] {
        let answer = ask(client, "it", &other).await;
        assert_via(&answer, STORED);
        assert_eq!(answer.json(), seen, "{other}");
    }
    assert_hit(&ask(client, "it", &json!("not even an object")).await);
}

#[tokio::test]
async fn keying_distinguishes_requests_that_the_plan_does_not() {
    let server = under("policy-keying", plugin("echo")).await;
    let client = &server.client;
    let request = json!({ "query": "ham" });
    assert_via(&ask(client, "it", &request).await, STORED);
    assert_via(&with_segment(&server, &request, "Gold").await, STORED);
    assert_via(&with_segment(&server, &request, "silver").await, STORED);
    assert_hit(&with_segment(&server, &request, "gold").await);
    assert_hit(&with_segment(&server, &request, "GOLD").await);
    assert_hit(&with_segment(&server, &request, "").await);
    assert_hit(&ask(client, "it", &request).await);
    let other = json!({ "query": "eggs" });
    assert_via(&with_segment(&server, &other, "gold").await, STORED);
    assert_eq!(runs(client, "it").await, 4.0);
}

#[tokio::test]
async fn keying_can_bypass_the_cache() {
    let server = under("policy-keying", plugin("echo")).await;
    let client = &server.client;
    let request = json!({ "query": "ham" });
    for runs_by_then in [1.0, 2.0] {
        assert_via(&ask_with(client, "it", &request, ("x-bypass", "1")).await, BYPASS);
        assert_eq!(runs(client, "it").await, runs_by_then);
    }
    assert_via(&ask(client, "it", &request).await, STORED);
    assert_via(&ask_with(client, "it", &request, ("x-bypass", "1")).await, BYPASS);
    assert_eq!(runs(client, "it").await, 4.0);
}

#[tokio::test]
async fn an_answer_made_from_a_header_in_the_key_is_kept_per_value_and_varies_by_it() {
    let server = under("policy-header", guest("reads-header")).await;
    let client = &server.client;
    let request = json!({});
    let flavoured = async |flavour: &str| {
        let answer = ask_with(client, "it", &request, ("x-flavour", flavour)).await;
        assert_eq!(answer.header("vary"), "x-flavour");
        answer
    };
    for (flavour, seen) in [("Mint", "mint"), ("lime", "lime"), ("", "")] {
        let answer = flavoured(flavour).await;
        assert_via(&answer, STORED);
        assert_eq!(answer.json(), json!({ "flavour": seen }), "as it was hashed");
    }
    let none = ask(client, "it", &request).await;
    assert_via(&none, STORED);
    assert_eq!(none.json(), json!({ "flavour": null }), "absent differs from empty");
    assert_eq!(none.header("vary"), "x-flavour");
    for (flavour, seen) in [("MINT", "mint"), ("LIME", "lime"), ("", "")] {
        let answer = flavoured(flavour).await;
        assert_hit(&answer);
        assert_eq!(answer.json(), json!({ "flavour": seen }));
    }
    assert_eq!(runs(client, "it").await, 4.0);
}

#[tokio::test]
async fn admission_decides_what_is_kept_and_for_how_long() {
    let server = under("policy-admission", plugin("echo")).await;
    let client = &server.client;
    let (small, large) = (json!("s"), json!("l".repeat(1_024)));
    assert_via(&ask(client, "it", &small).await, STORED);
    let hit = ask(client, "it", &small).await;
    assert!((1..=60).contains(&assert_hit(&hit)), "its ttl, not the plan's: {hit:?}");
    assert_via(&ask(client, "it", &large).await, "weir; fwd=miss; detail=policy");
    let again = ask(client, "it", &large).await;
    assert_via(&again, "weir; fwd=miss; detail=uncacheable");
    assert_eq!(again.json(), large);
}

#[tokio::test]
async fn admission_sees_the_status() {
    let server = under("policy-admission", guest("bad-headers")).await;
    for status in [200, 404] {
        let request = json!({ "status": status });
        let answer = ask(&server.client, "it", &request).await;
        assert_eq!(answer.status, status);
        let via = if status == 200 { STORED } else { "weir; fwd=miss; detail=policy" };
        assert_eq!(answer.header("cache-status"), via);
    }
}

#[tokio::test]
async fn without_admission_only_a_200_is_kept() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "it", "bad-headers", &[]);
        config.set("pipelines.it.redirects", true);
    })
    .await;
    for status in [201, 204, 301, 404, 500, 503] {
        let answer = ask(&server.client, "it", &json!({ "status": status })).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("cache-status"), "weir; fwd=miss; detail=policy", "{status}");
    }
    assert_via(&ask(&server.client, "it", &json!({ "status": 200 })).await, STORED);
}

#[tokio::test]
async fn the_cache_is_bypassed_if_the_policy_fails() {
    for policy in ["policy-traps", "policy-loops"] {
        let server = under(policy, plugin("echo")).await;
        let client = &server.client;
        for failures in 1..=3 {
            let request = json!({ "a": 1 });
            let answer = ask(client, "it", &request).await;
            assert_via(&answer, BYPASS);
            assert_eq!(answer.json(), request, "{policy}");
            let counted = client.metric("weir_policy_failures_total", &[("policy", "its")]).await;
            assert_eq!(counted, f64::from(failures), "{policy}");
            assert_eq!(runs(client, "it").await, f64::from(failures), "{policy}");
        }
        server.logged("bypassing the cache").await;
    }
}

#[tokio::test]
async fn a_policy_that_imports_is_refused() {
    let ended = Server::refused(|config| {
        config.policy("impure", &guest("policy-impure"));
    });
    ended.await.assert_refused(&[
        "[policies.impure]",
        "policy-impure.wasm",
        "weir:observe/settings",
        "a policy imports nothing",
    ]);
}

#[tokio::test]
async fn a_pipeline_is_not_a_policy_and_a_policy_is_not_a_pipeline() {
    let ended = Server::refused(|config| {
        config.policy("echo", &plugin("echo"));
    });
    ended.await.assert_refused(&["[policies.echo]", "the right world", "not weir:policy/planning"]);
    let ended = Server::refused(|config| {
        config.pipeline("it", &plugin("policy-default"), &[]);
    });
    ended.await.assert_refused(&[
        "[pipelines.it]",
        "it exports weir:policy/planning@0.2.0, not weir:pipeline/handler",
    ]);
}

#[tokio::test]
async fn refused_settings_are_reported_in_the_policys_words() {
    for (name, value, words) in [
        ("ttl_ms", "0", "'ttl_ms' must be an integer from 1 to 86400000, but is '0'"),
        ("ttl_ms", "5m", "'ttl_ms' must be an integer from 1 to 86400000, but is '5m'"),
        ("key_epoch", "-1", "'key_epoch' must be an integer from 0 to 4294967295, but is '-1'"),
        (
            "ttl",
            "1",
            "unknown setting 'ttl': the settings are 'ttl_ms', 'shared_ttl_ms', 'jitter_percent'",
        ),
    ] {
        let ended = Server::refused(|config| {
            config.search().set(&format!("policies.default.settings.{name}"), value);
        });
        ended.await.assert_refused(&["the policy 'default' refuses its settings", words]);
    }
}

/// The keys of two policies cannot be compared from outside. The test only shows that settings are
/// accepted as numbers and as texts.
#[tokio::test]
async fn settings_can_be_numbers_or_texts() {
    let server = Server::with(|config| {
        config
            .policy("its", &plugin("policy-default"))
            .set("policies.its.settings.ttl_ms", 60_000)
            .set("policies.its.settings.key_epoch", "7")
            .pipeline("it", &plugin("echo"), &[])
            .set("pipelines.it.policy", "its");
    })
    .await;
    assert_via(&ask(&server.client, "it", &json!(1)).await, STORED);
    assert!(assert_hit(&ask(&server.client, "it", &json!(1)).await) <= 60);
}
