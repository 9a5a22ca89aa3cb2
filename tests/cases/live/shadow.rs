//! Policies that are tried in shadow: what is reported of each kind of candidate, and that nobody notices them
//! otherwise.

use super::*;
use crate::cases::asking::{STORED, assert_hit, assert_via};

/// Begins to try a plugin as the policy `default`.
async fn begin(server: &Server, body: &Value) -> Answer {
    let request = server.admin.request("POST", "/admin/v1/policies/default/shadow");
    let request = request.bearer_auth(server.admin_token());
    Answer::to(request.header("content-type", "application/json").body(body.to_string())).await
}

async fn begun(server: &Server, digest: &str, settings: Value) {
    let body = json!({ "digest": digest, "settings": settings });
    begin(server, &body).await.assert_status(201);
}

async fn about(server: &Server, method: &str) -> Answer {
    let request = server.admin.request(method, "/admin/v1/policies/default/shadow");
    Answer::to(request.bearer_auth(server.admin_token())).await
}

/// The report, once everything was looked at that was asked before.
async fn report(server: &Server) -> Value {
    loop {
        let answer = about(server, "GET").await;
        answer.assert_status(200);
        let report = answer.json();
        if report["requests"]["waiting"] == 0 {
            return report;
        }
    }
}

/// A server that hosts `echo` and `flavoured`, which reads a header, under the policy `default`.
async fn hosting() -> Server {
    Server::with(|config| {
        config.policy("default", &plugin("policy-default"));
        config.pipeline("echo", &plugin("echo"), &[]).set("pipelines.echo.policy", "default");
        config
            .pipeline("flavoured", &guest("reads-header"), &[])
            .set("pipelines.flavoured.policy", "default");
    })
    .await
}

/// Asks `echo` these numbers.
async fn echoes(server: &Server, numbers: impl IntoIterator<Item = u32>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for number in numbers {
        let answer = ask(&server.client, "echo", &json!({ "query": number })).await;
        answer.assert_status(200);
        answers.push(answer);
    }
    answers
}

async fn with_headers(
    server: &Server,
    pipeline: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = server.client.request("POST", &format!("/v1/pipelines/{pipeline}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    let answer = Answer::to(request.body(body.to_string())).await;
    answer.assert_status(200);
    answer
}

fn is_hit(answer: &Answer) -> bool {
    answer.header("cache-status").starts_with("weir; hit")
}

/// Hits and lookups of a side.
fn hits(side: &Value) -> (u64, u64) {
    (side["hits"].as_u64().unwrap(), side["lookups"].as_u64().unwrap())
}

#[tokio::test]
async fn the_deployed_policy_in_shadow_of_itself_has_the_hits_that_there_are() {
    let server = hosting().await;
    let digest = default_policy(&server).await;
    begun(&server, &digest, json!({})).await;
    // Zipf-like: number n at every nth turn.
    let turns = (1..=60_u32).flat_map(|turn| (1..=12).filter(move |n| turn.is_multiple_of(*n)));
    let answers = echoes(&server, turns).await;
    let real = answers.iter().filter(|answer| is_hit(answer)).count() as u64;
    let report = report(&server).await;
    assert_eq!(report["requests"]["seen"], answers.len());
    assert_eq!(report["answered"]["hits"], real);
    for side in ["deployed", "candidate"] {
        let (hits, lookups) = hits(&report[side]);
        assert_eq!(lookups, answers.len() as u64, "{side}: {report:#}");
        assert!(hits.abs_diff(real) <= 1, "{side}: {hits} of {real} {report:#}");
    }
    let keys = &report["keys"];
    assert_eq!((&keys["split"], &keys["merged"]), (&json!(0), &json!(0)));
    assert_eq!(report["estimated_because"], json!([]));
}

#[tokio::test]
async fn answers_and_the_cache_are_the_same_with_a_shadow_and_without() {
    let (with, without) = (hosting().await, hosting().await);
    let digest = Author::new().push(&with, "policy", &guest("policy-keying"), "").await;
    begun(&with, &digest, json!({})).await;
    for turn in 0..40_u32 {
        let body = json!({ "query": turn % 7, "user": turn % 3 });
        let flavour = ["salt", "sweet"][turn as usize % 2];
        for pipeline in ["echo", "flavoured"] {
            let headers = [("x-flavour", flavour), ("x-segment", flavour)];
            let one = with_headers(&with, pipeline, &body, &headers).await;
            let other = with_headers(&without, pipeline, &body, &headers).await;
            assert_eq!(one.body, other.body);
            let statuses = [&one, &other].map(|answer| {
                let status = answer.header("cache-status").to_owned();
                // Seconds go on.
                status.split("; ttl=").next().map(ToOwned::to_owned)
            });
            assert_eq!(statuses[0], statuses[1], "{pipeline} {turn}");
            for header in ["etag", "vary", "content-type"] {
                assert_eq!(one.header(header), other.header(header));
            }
        }
    }
    let _ = report(&with).await;
    let counted = async |server: &Server| {
        let request = server.admin.request("GET", "/health/cache/analytics");
        let answer = Answer::to(request.bearer_auth(server.admin_token())).await;
        answer.assert_status(200);
        let query = answer.json()["tenants"][0]["query"].clone();
        assert!(query["in_memory"]["entries"].is_u64(), "{query}");
        (query["hits"].clone(), query["misses"].clone(), query["in_memory"].clone())
    };
    assert_eq!(counted(&with).await, counted(&without).await);
}

#[tokio::test]
async fn a_candidate_that_merges_and_splits_is_reported_with_examples() {
    let server = hosting().await;
    let digest = Author::new().push(&server, "policy", &guest("policy-keying"), "").await;
    begun(&server, &digest, json!({})).await;
    // Its plan has only the query, so it merges users; its hook adds the segment, so it splits by that.
    for (user, segment) in [("anna", "gold"), ("bert", "gold"), ("anna", "silver")] {
        let body = json!({ "query": "ham", "user": user });
        with_headers(&server, "echo", &body, &[("x-segment", segment)]).await;
    }
    with_headers(&server, "echo", &json!({ "query": "ham" }), &[("x-bypass", "1")]).await;
    let report = report(&server).await;
    let keys = &report["keys"];
    assert_eq!((&keys["split"], &keys["split_into"]), (&json!(1), &json!(2)), "{report:#}");
    assert_eq!((&keys["merged"], &keys["merged_into"]), (&json!(2), &json!(1)), "{report:#}");
    assert_eq!(keys["merged_different"], 1, "an echo says who asked: {report:#}");
    assert_eq!(report["other_answers"], 1);
    let example = &keys["merge_examples"][0];
    assert_eq!(example["answers"], "different");
    assert_eq!(
        example["parts"],
        json!([
            { "part": "json-field /query", "text": "\"ham\"" },
            { "part": "keying", "text": "gold" },
        ])
    );
    assert_eq!(example["others"][1][0]["part"], "body");
    assert_eq!(report["candidate"]["bypassed"], 1);
    assert_eq!(report["candidate"]["cost"]["decisions"], 4);
    assert!(report["candidate"]["cost"]["fuel"]["median"].as_u64().unwrap() > 0, "{report:#}");
    let shown = command(&server, &["shadow", "default"]).await;
    assert!(shown.success, "{}", shown.stderr);
    assert!(shown.stdout.contains("WARNING: 1 of them have different answers"), "{}", shown.stdout);
}

#[tokio::test]
async fn a_candidate_that_covers_a_header_would_store_what_the_deployed_policy_cannot() {
    let server = hosting().await;
    let digest = Author::new().push(&server, "policy", &guest("policy-header"), "").await;
    begun(&server, &digest, json!({})).await;
    for flavour in ["salt", "sweet", "salt", "sweet"] {
        with_headers(&server, "flavoured", &json!({}), &[("x-flavour", flavour)]).await;
    }
    let report = report(&server).await;
    assert_eq!(hits(&report["deployed"]), (0, 4), "{report:#}");
    assert_eq!(hits(&report["candidate"]), (2, 4), "{report:#}");
    assert_eq!(report["deployed"]["not_stored"], json!({ "read-outside-key": 4 }));
    assert_eq!((&report["keys"]["split"], &report["keys"]["split_into"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn candidates_that_shorten_and_that_refuse() {
    let server = hosting().await;
    let digest = default_policy(&server).await;
    begun(&server, &digest, json!({ "ttl_ms": "1000" })).await;
    echoes(&server, [1]).await;
    // It is stored while it is fresh.
    report(&server).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
    echoes(&server, [1]).await;
    let brief = report(&server).await;
    assert_eq!((hits(&brief["deployed"]), hits(&brief["candidate"])), ((1, 2), (0, 2)));
    let ttl = |report: &Value, side: &str| report[side]["ttl_ms"]["median"].clone();
    assert_eq!(
        (ttl(&brief, "deployed"), ttl(&brief, "candidate")),
        (json!(3_600_000), json!(1_000))
    );
    about(&server, "DELETE").await.assert_status(200);

    // It stores at most 1 KiB, for a minute, under a tag.
    let digest = Author::new().push(&server, "policy", &guest("policy-admission"), "").await;
    begun(&server, &digest, json!({})).await;
    let large = json!({ "text": "x".repeat(2_000) });
    for body in [&large, &large, &json!({ "small": 1 })] {
        ask(&server.client, "echo", body).await.assert_status(200);
    }
    let report = report(&server).await;
    assert_eq!(report["candidate"]["not_stored"], json!({ "policy": 2 }), "{report:#}");
    assert_eq!(report["candidate"]["refused"], json!({ "Some(2011) bytes": 2 }));
    assert_eq!(ttl(&report, "candidate"), json!(60_000));
    assert_eq!(report["tags"]["added"], json!([["policy:default:admitted", 1]]));
}

#[tokio::test]
async fn a_candidate_that_fails_or_never_ends_hurts_nobody() {
    let server = hosting().await;
    for (component, kind) in [("policy-traps", "trapped"), ("policy-loops", "out-of-fuel")] {
        let digest = Author::new().push(&server, "policy", &guest(component), "").await;
        begun(&server, &digest, json!({})).await;
        echoes(&server, [1]).await;
        for answer in echoes(&server, [1; 20]).await {
            assert_hit(&answer);
        }
        let report = report(&server).await;
        let [failure] = &report["candidate"]["failures"].as_array().unwrap()[..] else {
            panic!("{report:#}")
        };
        assert_eq!((&failure["hook"], &failure["kind"]), (&json!("keying"), &json!(kind)));
        assert_eq!(failure["count"], 21, "{report:#}");
        assert_eq!(hits(&report["candidate"]), (0, 0));
        about(&server, "DELETE").await.assert_status(200);
    }
    assert_eq!(server.client.metric("weir_policy_failures_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_change_ends_what_is_simulated_too() {
    let server = Server::with(|config| {
        config.search();
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("bread", "Bread is made of flour.")]).await;
    let digest = default_policy(&server).await;
    begun(&server, &digest, json!({ "key_epoch": "1" })).await;
    let question = json!({ "query": "flour", "mode": "keyword" });
    for (turn, is_stored) in [(1, true), (2, false), (3, true), (4, false)] {
        if turn == 3 {
            server.client.ingest("docs", &[document("cake", "Cake has flour, too.")]).await;
        }
        let answer = ask(&server.client, "search", &question).await;
        if is_stored {
            assert_via(&answer, STORED);
        } else {
            assert_hit(&answer);
        }
    }
    let report = report(&server).await;
    assert_eq!((hits(&report["deployed"]), hits(&report["candidate"])), ((2, 4), (2, 4)));
}

#[tokio::test]
async fn there_is_one_for_a_policy_and_it_ends_with_what_it_is_compared_with() {
    let mut server = hosting().await;
    let digest = default_policy(&server).await;
    about(&server, "GET").await.assert_problem(404, "unknown-shadow");
    about(&server, "DELETE").await.assert_problem(404, "unknown-shadow");
    let unknown = json!({ "digest": "0".repeat(64) });
    begin(&server, &unknown).await.assert_problem(404, "unknown-plugin");
    let wrong = json!({ "digest": digest, "settings": { "ttl": "1" } });
    begin(&server, &wrong).await.assert_problem(422, "not-allowed");
    let started = command(&server, &["shadow", "default", &digest, "--set", "ttl_ms=5"]).await;
    assert!(started.success, "{}", started.stderr);
    begin(&server, &json!({ "digest": digest })).await.assert_problem(409, "in-use");
    let nobody = command(&server, &["shadow", "other", &digest]).await;
    assert!(nobody.stderr.contains("No policy 'other' is deployed"), "{}", nobody.stderr);

    echoes(&server, [1]).await;
    let swap = json!({ "digest": digest, "settings": { "ttl_ms": "7" } });
    deploy(&server, "policies", "default", &swap).await;
    echoes(&server, [1, 2]).await;
    let ended = report(&server).await;
    assert_eq!((&ended["ended"], &ended["requests"]["seen"]), (&json!("swapped"), &json!(1)));
    // It makes way for another one.
    begun(&server, &digest, json!({})).await;
    let last = command(&server, &["shadow", "default", "--end"]).await;
    assert!(last.stdout.contains("has ended (ended)"), "{} {}", last.stdout, last.stderr);
    about(&server, "GET").await.assert_problem(404, "unknown-shadow");
    begun(&server, &digest, json!({})).await;
    server = server.restart().await;
    about(&server, "GET").await.assert_problem(404, "unknown-shadow");
}
