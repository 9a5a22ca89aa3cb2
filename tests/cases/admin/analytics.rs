//! How the cache is used, and clearing it: what is counted is what happened, each tenant sees its own, and
//! nobody clears it without the token.

use serde_json::{Value, json};

use super::{AFTER_CHANGE, DAY_MS, about, asked, explained, invalidated, server_with};
use crate::cases::asking::{
    COLLAPSED, STORED, ask, ask_with, assert_hit, assert_via, searched, server_with_slow_reader,
    under_default,
};
use crate::cases::tenants::{Key, Sender, three_tenants};
use crate::harness::{Answer, Client, Server, document, eventually, plugin, weir};

const ANALYTICS: &str = "/health/cache/analytics";
const CLEAR: &str = "/health/cache/clear";

/// What administrators are told.
async fn analytics(server: &Server) -> Value {
    let answer =
        Answer::to(server.admin.request("GET", ANALYTICS).bearer_auth(server.admin_token()));
    let answer = answer.await;
    answer.assert_status(200);
    answer.json()
}

/// What is counted of the requests of the only tenant.
async fn queries(server: &Server) -> Value {
    let all = analytics(server).await;
    assert_eq!(all["tenants"].as_array().unwrap().len(), 1, "{all}");
    all["tenants"][0]["query"].clone()
}

/// What is counted of one pipeline.
fn of<'a>(queries: &'a Value, pipeline: &str) -> &'a Value {
    let all = queries["pipelines"].as_array().unwrap();
    let found = all.iter().find(|one| one["pipeline"] == pipeline);
    found.unwrap_or_else(|| panic!("no {pipeline} in {queries}"))
}

#[track_caller]
fn assert_counted(counted: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&counted[key], value, "{key} of {counted:#}");
    }
}

fn ratio(hits: u64, lookups: u64) -> Value {
    let ratio = (lookups > 0).then(|| hits as f64 / lookups as f64);
    json!({ "hits": hits, "lookups": lookups, "ratio": ratio })
}

/// A server without a shared tier that hosts `search`, `trap`, and `echo` without a policy.
async fn counting() -> Server {
    let server = Server::with(|config| {
        config.search().set("cache.shared.backend", "none");
        config.set("pipelines.search.client_cache_control", vec!["no-cache", "no-store"]);
        config.pipeline("echo", &plugin("echo"), &[]);
        under_default(config, "trap", "trap", &[]);
    })
    .await;
    for collection in ["docs", "more"] {
        server.client.create(collection).await;
        let bread = document("bread", "Bread is made of flour.");
        server.client.ingest(collection, &[bread]).await;
    }
    server
}

async fn hits(server: &Server, collection: &str, count: usize) {
    for _ in 0..count {
        assert_hit(&asked(server, collection).await);
    }
}

/// Hits, and misses of each kind.
async fn send_all(server: &Server) {
    let client = &server.client;
    for collection in ["docs", "more"] {
        assert_via(&asked(server, collection).await, STORED);
    }
    hits(server, "docs", 4).await;
    hits(server, "more", 1).await;
    client.ingest("docs", &[document("cake", "Cake is made of flour.")]).await;
    assert_via(&asked(server, "docs").await, STORED);
    hits(server, "docs", 1).await;
    let with = async |directive: &str, request: &Value| {
        ask_with(client, "search", request, ("cache-control", directive)).await
    };
    assert_via(&with("no-cache", &about("docs")).await, "weir; fwd=request; stored");
    let new = json!({ "query": "yeast", "mode": "keyword" });
    assert_via(&with("no-store", &new).await, "weir; fwd=miss; detail=no-store");
    for _ in 0..2 {
        let answer = ask(client, "echo", &json!({ "a": 1 })).await;
        assert_via(&answer, "weir; fwd=bypass; detail=no-policy");
    }
    ask(client, "trap", &json!({})).await.assert_problem(500, "pipeline-trapped");
}

#[tokio::test]
async fn what_is_counted_is_what_happened() {
    let server = counting().await;
    let nothing = queries(&server).await;
    assert_eq!(nothing["requests"], 0);
    assert_eq!(nothing["hit_ratio"]["last_minute"], ratio(0, 0));
    send_all(&server).await;
    let search = json!({
        "policy": "default",
        "requests": 11,
        "hits": { "memory": 6, "shared": 0 },
        "stale": {},
        "collapsed": 0,
        "misses": { "absent": 3, "changed": 1, "asked-for-newer": 1 },
        "not_stored": { "no-store": 1 },
        "bypassed": {},
        "failed": {},
    });
    let counted = queries(&server).await;
    assert_counted(of(&counted, "search"), &search);
    // The test takes less than a minute.
    for window in ["last_minute", "last_5_minutes", "last_hour", "since_start"] {
        assert_eq!(of(&counted, "search")["hit_ratio"][window], ratio(6, 11), "{window}");
    }
    let echo =
        json!({ "policy": null, "requests": 2, "bypassed": { "no-policy": 2 }, "misses": {} });
    assert_counted(of(&counted, "echo"), &echo);
    let trap =
        json!({ "policy": "default", "requests": 1, "failed": { "trapped": 1 }, "misses": {} });
    assert_counted(of(&counted, "trap"), &trap);
    assert_eq!(of(&counted, "trap")["hit_ratio"]["since_start"], ratio(0, 0));

    let under_the_policy = json!({
        "policy": "default",
        "requests": 12,
        "misses": search["misses"],
        "failed": { "trapped": 1 },
    });
    assert_eq!(counted["policies"].as_array().unwrap().len(), 1);
    assert_counted(&counted["policies"][0], &under_the_policy);
    let all = json!({ "requests": 14, "hits": search["hits"], "bypassed": { "no-policy": 2 } });
    assert_counted(&counted, &all);
    let memory = json!({
        "tier": "memory",
        "hits": 6,
        "stale": 0,
        "misses": { "absent": 4, "changed": 1, "asked-for-newer": 1 },
        "entries": 2,
    });
    assert_eq!(counted["tiers"].as_array().unwrap().len(), 1, "there is no shared tier");
    assert_counted(&counted["tiers"][0], &memory);
}

#[tokio::test]
async fn the_memory_is_each_pipelines_that_uses_it() {
    let server = counting().await;
    for collection in ["docs", "more"] {
        assert_via(&asked(&server, collection).await, STORED);
    }
    ask(&server.client, "echo", &json!({ "a": 1 })).await.assert_status(200);
    let counted = queries(&server).await;
    let tier = &counted["tiers"][0];
    assert!(tier["bytes"].as_u64().unwrap() > 0);
    let in_memory = json!({ "entries": 2, "bytes": tier["bytes"] });
    for of in [of(&counted, "search"), &counted["policies"][0], &counted] {
        assert_eq!(of["in_memory"], in_memory);
    }
    assert_eq!(of(&counted, "echo")["in_memory"], json!({ "entries": 0, "bytes": 0 }));
}

#[tokio::test]
async fn the_shared_tier_is_counted_apart() {
    let mut server = server_with(&[]).await;
    server.sigterm();
    server.wait().await;
    server = server.restart().await;
    let answer = asked(&server, "docs").await;
    assert!(answer.header("cache-status").ends_with("; detail=shared"), "{answer:?}");
    hits(&server, "docs", 2).await;
    let new = json!({ "query": "yeast", "mode": "keyword" });
    assert_via(&ask(&server.client, "search", &new).await, STORED);
    let counted = queries(&server).await;
    let expected = json!({
        "requests": 4,
        "hits": { "memory": 2, "shared": 1 },
        "misses": { "absent": 1 },
    });
    assert_counted(of(&counted, "search"), &expected);
    assert_eq!(counted["hit_ratio"]["since_start"], ratio(3, 4));
    let shared = json!({ "tier": "shared", "hits": 1, "misses": { "absent": 1 } });
    assert_eq!(counted["tiers"][1], shared);
    assert_eq!(counted["tiers"][0]["misses"], json!({ "absent": 2 }));
}

#[tokio::test]
async fn what_is_on_disk_is_counted_and_still_there_after_a_restart() {
    let mut server = server_with(&[]).await;
    let on_disk = async |server: &Server| analytics(server).await["tenants"][0]["on_disk"].clone();
    let two = async |server: &Server| {
        let counted = on_disk(server).await;
        (counted["entries"] == 2).then_some(counted)
    };
    let counted = eventually("both answers are written", || two(&server)).await;
    assert!(counted["bytes"].as_u64().unwrap() >= 2 * 4096, "in pages: {counted}");
    server.sigterm();
    server.wait().await;
    server = server.restart().await;
    assert_eq!(on_disk(&server).await, counted);
    assert_eq!(analytics(&counting().await).await["tenants"][0]["on_disk"], Value::Null);
}

#[tokio::test]
async fn old_answers_are_counted_by_their_reason() {
    let server = server_with(&[("stale_after_change_ms", DAY_MS)]).await;
    hits(&server, "docs", 1).await;
    let body = json!({ "what": { "collection": "docs" }, "soft": true });
    server.administer("cache/invalidate", &body).await.assert_status(200);
    let old = asked(&server, "docs").await;
    assert!(old.header("cache-status").ends_with(AFTER_CHANGE), "{old:?}");
    let counted = queries(&server).await;
    let expected =
        json!({ "requests": 4, "stale": { "stale-after-change": 1 }, "misses": { "absent": 2 } });
    assert_counted(of(&counted, "search"), &expected);
    assert_eq!(counted["tiers"][0]["stale"], 1);
    assert_eq!(counted["hit_ratio"]["last_minute"], ratio(2, 4));
}

#[tokio::test]
async fn answers_of_other_requests_runs_are_counted_apart() {
    let server = server_with_slow_reader().await;
    server.client.create("docs").await;
    let asked = async |client: Client| {
        let question = json!({ "collection": "docs", "text": "one", "work": 400_000 });
        ask(&client, "slow", &question).await
    };
    let leader = tokio::spawn(asked(server.client.clone()));
    searched(&server, 1).await;
    assert_via(&asked(server.client.clone()).await, COLLAPSED);
    assert_via(&leader.await.unwrap(), STORED);
    let expected = json!({ "requests": 2, "collapsed": 1, "misses": { "absent": 1 } });
    let counted = queries(&server).await;
    assert_counted(of(&counted, "slow"), &expected);
    assert_eq!(counted["hit_ratio"]["since_start"], ratio(0, 2));
}

#[tokio::test]
async fn the_hottest_key_is_the_one_that_is_explained() {
    let server = server_with(&[]).await;
    hits(&server, "docs", 20).await;
    let counted = queries(&server).await;
    let explained = explained(&server, &about("docs")).await;
    let expected = json!({
        "pipeline": "search",
        "key": explained["key"],
        "estimated_hits": 20,
        "overestimated_by_at_most": 0,
    });
    assert_eq!(counted["hottest"], json!([expected]));
    let ages = &of(&counted, "search")["ages_of_hits"];
    assert_eq!(ages["sampled"], 1, "the first");
    assert!(ages["p50_ms"].as_u64().unwrap() <= ages["p99_ms"].as_u64().unwrap(), "{ages}");
    invalidated(&server, json!({ "key": counted["hottest"][0]["key"] })).await;
    assert_via(&asked(&server, "docs").await, STORED);
}

#[tokio::test]
async fn texts_are_counted_by_tier() {
    let mut server = server_with(&[]).await;
    let body = json!({ "model": "all-MiniLM-L6-v2", "input": ["one", "two"] });
    for _ in 0..2 {
        server.client.post("/v1/embeddings", &body).await.assert_status(200);
    }
    let embedding = analytics(&server).await["tenants"][0]["embedding"].clone();
    assert_counted(&embedding, &json!({ "texts": 4, "collapsed": 0 }));
    assert_eq!(embedding["hit_ratio"]["last_minute"], ratio(2, 4));
    let memory = &embedding["tiers"][0];
    assert_counted(memory, &json!({ "tier": "memory", "hits": 2, "misses": 2 }));
    assert_eq!(memory["models"][0]["entries"], 2);
    assert!(memory["models"][0]["bytes"].as_u64().unwrap() > 2 * 384 * 4, "{memory}");
    let shared = json!({ "tier": "shared", "hits": 0, "misses": { "absent": 2 } });
    assert_eq!(embedding["tiers"][1], shared);

    server.sigterm();
    server.wait().await;
    server = server.restart().await;
    server.client.post("/v1/embeddings", &body).await.assert_status(200);
    let embedding = analytics(&server).await["tenants"][0]["embedding"].clone();
    assert_eq!(embedding["hit_ratio"]["since_start"], ratio(2, 2));
    assert_eq!(embedding["tiers"][1], json!({ "tier": "shared", "hits": 2, "misses": {} }));
}

#[tokio::test]
async fn a_tenant_sees_its_own_cache_only() {
    let (beta, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| three_tenants(config, &beta, &gamma)).await;
    let sender = |host, prefix, key| Sender { server: &server, host, prefix, key };
    let as_acme = sender("acme.example", "", None);
    let as_beta = sender("x", "/t/beta", Some(beta.key.as_str()));
    for (sender, times) in [(as_acme, 3), (as_beta, 5)] {
        sender.send("PUT", "/v1/collections/docs", None).await.assert_status(201);
        sender.ingest("bread", "Bread is made of flour.").await;
        for _ in 0..times {
            sender
                .send("POST", "/v1/pipelines/search", Some(about("docs")))
                .await
                .assert_status(200);
        }
    }
    for (sender, name, requests) in [
        (as_acme, "acme", 3),
        (as_beta, "beta", 5),
        (sender("x", "", Some(gamma.key.as_str())), "gamma", 0),
    ] {
        let answer = sender.send("GET", ANALYTICS, None).await;
        answer.assert_status(200);
        let tenants = answer.json()["tenants"].clone();
        assert_eq!(tenants.as_array().unwrap().len(), 1, "{name}: {tenants}");
        assert_eq!(tenants[0]["tenant"], name);
        assert_eq!(tenants[0]["query"]["requests"], requests, "{name}");
        let others = ["acme", "beta", "gamma"].into_iter().filter(|other| *other != name);
        assert!(others.into_iter().all(|other| !answer.text().contains(other)), "{answer:?}");
    }
    for (sender, status, code) in [
        (sender("x", "/t/beta", None), 401, "missing-api-key"),
        (sender("x", "/t/beta", Some(gamma.key.as_str())), 401, "invalid-api-key"),
        (sender("beta.example", "", None), 404, "unknown-tenant"),
        (sender("x", "", None), 404, "unknown-tenant"),
    ] {
        sender.send("GET", ANALYTICS, None).await.assert_problem(status, code);
    }
    let all = analytics(&server).await;
    let counted = all["tenants"].as_array().unwrap().iter();
    let counted: Vec<_> = counted.map(|of| (&of["tenant"], &of["query"]["requests"])).collect();
    let expected =
        [("acme", 3), ("beta", 5), ("gamma", 0)].map(|(name, many)| (json!(name), json!(many)));
    assert_eq!(counted, expected.iter().map(|(name, many)| (name, many)).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_is_for_this_machine_unless_it_is_open() {
    let server = counting().await;
    server.client.get(ANALYTICS).await.assert_status(200);
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "127.0.0.1"),
    ] {
        let forwarded = server.client.request("GET", ANALYTICS).header(name, value);
        Answer::to(forwarded).await.assert_problem(403, "local-only");
    }
    server.client.post(ANALYTICS, &json!({})).await.assert_problem(405, "method-not-allowed");
    // The admin's needs the token, whoever asks.
    server.admin.get(ANALYTICS).await.assert_problem(401, "invalid-admin-token");
    let url = format!("{ANALYTICS}?token={}", server.admin_token());
    server.admin.get(&url).await.assert_problem(401, "invalid-admin-token");
    let open = server.restart_with(|config| {
        config.search().set("admin.open_analytics", true);
    });
    let server = open.await;
    let forwarded = server.client.request("GET", ANALYTICS).header("via", "1.1 proxy");
    Answer::to(forwarded).await.assert_status(200);
}

#[tokio::test]
async fn whoever_has_the_token_clears_the_cache() {
    let server = counting().await;
    let token = server.admin_token();
    assert_via(&asked(&server, "docs").await, STORED);
    hits(&server, "docs", 1).await;
    let public = |path: &str| server.client.request("POST", path);
    for request in [
        public(CLEAR),
        public(&format!("{CLEAR}?token={token}")),
        public(CLEAR).bearer_auth("wrong").header("origin", "http://page.example"),
        public(CLEAR).bearer_auth(&token).header("via", "1.1 proxy"),
        server.admin.request("POST", CLEAR),
    ] {
        let answer = Answer::to(request).await;
        // After a few attempts, further ones are not looked at.
        let refusals = ["invalid-admin-token", "rate-limited", "local-only"];
        let code = answer.json()["code"].clone();
        assert!(refusals.iter().any(|refusal| code == *refusal), "{answer:?}");
        hits(&server, "docs", 1).await;
    }
    let json = |request: reqwest::RequestBuilder, body: &str| {
        request.bearer_auth(&token).header("content-type", "application/json").body(body.to_owned())
    };
    for request in [
        public(CLEAR).bearer_auth(&token),
        json(public(CLEAR), "{}"),
        json(public(CLEAR), "{\"tenant\":\"default\"}"),
        server.admin.request("POST", CLEAR).bearer_auth(&token),
    ] {
        hits(&server, "docs", 1).await;
        let answer = Answer::to(request).await;
        answer.assert_status(200);
        let position = answer.json()["invalidated"][0]["position"].as_u64().unwrap();
        let after = asked(&server, "docs").await;
        assert_via(&after, STORED);
        assert!(after.position() >= position, "{after:?}");
    }
    for (request, status, code) in [
        (json(public(CLEAR), "{\"tenant\":\"nobody\"}"), 404, "unknown-tenant"),
        (json(public(CLEAR), "{\"what\":\"everything\"}"), 400, "invalid-request"),
        (json(public(CLEAR), "{"), 400, "invalid-json"),
        (public(CLEAR).bearer_auth(&token).body("x"), 415, "unsupported-media-type"),
    ] {
        Answer::to(request).await.assert_problem(status, code);
        hits(&server, "docs", 1).await;
    }
    eventually("it is in the log", async || {
        let log = server.log();
        let audited =
            log.lines().filter(|line| line.contains("weir::audit") && line.contains("everything"));
        (audited.count() == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_command_line_shows_the_same() {
    let server = counting().await;
    assert_via(&asked(&server, "docs").await, STORED);
    hits(&server, "docs", 3).await;
    let (config, url) = (server.folder().join("weir.toml"), server.admin_url());
    let base = ["cache", "--config", config.to_str().unwrap(), "--url", &url];
    let told = weir(&[&base[..], &["--json", "stats"]].concat()).await;
    assert!(told.success, "{told:?}");
    let mut json: Value = serde_json::from_str(&told.stdout).unwrap();
    let mut expected = analytics(&server).await;
    for told in [&mut json, &mut expected] {
        told["uptime_seconds"] = json!(0);
    }
    assert_eq!(json, expected);
    let told = weir(&[&base[..], &["stats"]].concat()).await;
    assert!(told.success, "{told:?}");
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = told.stdout.lines().map(words).collect();
    let row = "search default 4 75.0 % 75.0 % 75.0 % 75.0 % 0 0 1 (absent 1)";
    assert!(lines.contains(&words(row)), "no {row:?} in {}", told.stdout);
    let key = expected["tenants"][0]["query"]["hottest"][0]["key"].as_str().unwrap();
    assert!(lines.contains(&words(&format!("3 3 search {key}"))), "{}", told.stdout);
    let missing = weir(&["cache", "stats"]).await;
    missing.assert_refused(&["--token-file"]);
}
