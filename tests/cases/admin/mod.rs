//! The admin listener: who may use it, what an invalidation ends and what it leaves, and what is answered in
//! advance. What explanations say is in `explanations`, and how the cache is used in `analytics`.

mod analytics;
mod explanations;

use std::time::Duration;

use serde_json::{Value, json};

use super::asking::{
    COLLAPSED, STORED, ask, ask_with, assert_hit, assert_via, missed, runs, searched,
    server_with_slow_reader,
};
use crate::harness::{Answer, Client, Server, document, eventually, guest, plugin, weir};

const DAY_MS: i64 = 86_400_000;
const AFTER_CHANGE: &str = "; detail=stale-after-change";

fn about(collection: &str) -> Value {
    json!({ "collection": collection, "query": "flour", "mode": "keyword" })
}

/// A server with a shared tier, the collections `docs` and `more`, and an answer about each.
async fn server() -> Server {
    server_with(&[]).await
}

async fn server_with(settings: &[(&str, i64)]) -> Server {
    let server = Server::with(|config| {
        config.search().set("cache.shared.backend", "disk");
        for (name, value) in settings {
            config.set(&format!("policies.default.settings.{name}"), *value);
        }
    })
    .await;
    for collection in ["docs", "more"] {
        server.client.create(collection).await;
        let bread = document("bread", "Bread is made of flour.");
        server.client.ingest(collection, &[bread]).await;
        assert_via(&asked(&server, collection).await, STORED);
    }
    server
}

async fn asked(server: &Server, collection: &str) -> Answer {
    ask(&server.client, "search", &about(collection)).await
}

async fn invalidate(server: &Server, what: Value) -> Answer {
    server.administer("cache/invalidate", &json!({ "what": what })).await
}

/// Invalidates something of the only tenant, and returns the position of that.
async fn invalidated(server: &Server, what: Value) -> u64 {
    let answer = invalidate(server, what).await;
    answer.assert_status(200);
    let all = answer.json()["invalidated"].clone();
    assert_eq!(all[0]["tenant"], "default", "{answer:?}");
    all[0]["position"].as_u64().unwrap()
}

async fn explained(server: &Server, request: &Value) -> Value {
    let described = json!({ "pipeline": "search", "body": request });
    let answer = server.administer("cache/explain", &described).await;
    answer.assert_status(200);
    answer.json()
}

#[tokio::test]
async fn every_request_needs_the_token() {
    let server = server().await;
    let path = "/admin/v1/cache/invalidate";
    let body = json!({ "what": "everything" }).to_string();
    let token = server.admin_token();
    let post = |path: &str| {
        server
            .admin
            .request("POST", path)
            .header("content-type", "application/json")
            .body(body.clone())
    };
    for request in [
        post(path),
        post(path).bearer_auth("wrong"),
        post(path).basic_auth("admin", Some(&token)),
        post(&format!("{path}?token={token}")),
        post(&format!("{path}?access_token={token}")),
    ] {
        let answer = Answer::to(request).await;
        // After a few attempts, further ones are not looked at.
        match answer.status {
            429 => answer.assert_problem(429, "rate-limited"),
            _ => answer.assert_problem(401, "invalid-admin-token"),
        }
    }
    assert_hit(&asked(&server, "docs").await);
    // The admin's routes are not the public ones, nor the other way round.
    server
        .client
        .post(path, &json!({ "what": "everything" }))
        .await
        .assert_problem(404, "not-found");
    // Whoever has it is not locked out by those who guess, even from the same address.
    invalidated(&server, json!("everything")).await;
    let search = server.admin.request("POST", "/v1/pipelines/search").bearer_auth(&token);
    Answer::to(search).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn who_guesses_the_token_has_to_wait() {
    let server = server().await;
    let guess = async || {
        let request = server.admin.request("POST", "/admin/v1/cache/explain");
        Answer::to(request.bearer_auth("guessed")).await.status
    };
    let mut answered = 0;
    while guess().await == 401 {
        answered += 1;
        assert!(answered < 10, "guesses are not limited");
    }
}

#[tokio::test]
async fn an_invalidation_ends_what_it_covers_and_nothing_else() {
    let server = server().await;
    let docs = explained(&server, &about("docs")).await;
    let (key, part) = (docs["key"].clone(), docs["parts"][0]["text"].clone());
    assert_eq!(key.as_str().unwrap().len(), 64);
    for (what, others_too) in [
        (json!("everything"), true),
        (json!({ "collection": "docs" }), false),
        (json!({ "tag": "collection:docs" }), false),
        (json!({ "pipeline": "search" }), true),
        (json!({ "key": key }), false),
        (json!({ "prefix": { "pipeline": "search", "parts": [part] } }), false),
        (json!({ "pipeline": "other" }), true),
    ] {
        let ends = what != json!({ "pipeline": "other" });
        for collection in ["docs", "more"] {
            assert_hit(&asked(&server, collection).await);
        }
        let position = invalidated(&server, what.clone()).await;
        let answer = asked(&server, "docs").await;
        assert!(answer.position() >= position, "{what}: {answer:?}");
        assert_eq!(answer.header("cache-status") == STORED, ends, "{what}: {answer:?}");
        let other = asked(&server, "more").await;
        let expected = ends && others_too;
        assert_eq!(other.header("cache-status") == STORED, expected, "{what}: {other:?}");
        assert_eq!(other.ids(), ["bread"]);
    }
    eventually("it is in the log", async || {
        let log = server.log();
        let audited = log.lines().filter(|line| line.contains("weir::audit")).count();
        (audited == 7).then_some(())
    })
    .await;
}

/// A server that hosts `echo`, whose key is the body and then the header `x-flavour`.
async fn with_two_parts() -> Server {
    Server::with(|config| {
        config
            .pipeline("echo", &plugin("echo"), &[])
            .policy("flavours", &guest("policy-header"))
            .set("pipelines.echo.policy", "flavours");
    })
    .await
}

#[tokio::test]
async fn a_prefix_is_of_the_first_parts_in_their_order() {
    let server = with_two_parts().await;
    let requests = [("1", Some("sweet")), ("1", Some("sour")), ("1", None), ("2", Some("sweet"))];
    let asked = async |(body, flavour): (&str, Option<&str>)| {
        let body: Value = serde_json::from_str(body).unwrap();
        match flavour {
            Some(flavour) => ask_with(&server.client, "echo", &body, ("x-flavour", flavour)).await,
            None => ask(&server.client, "echo", &body).await,
        }
    };
    for request in requests {
        assert_via(&asked(request).await, STORED);
    }
    for (parts, ended) in [
        (json!(["1", "sweet"]), &requests[..1]),
        (json!(["1", null]), &requests[2..3]),
        (json!(["1"]), &requests[..3]),
        (json!(["sweet"]), &[]),
        (json!(["sweet", "1"]), &[]),
        (json!(["1", "sweet", null]), &[]),
        (json!([null]), &[]),
    ] {
        invalidated(&server, json!({ "prefix": { "pipeline": "echo", "parts": parts } })).await;
        for request in requests {
            let answer = asked(request).await;
            let is_ended = ended.contains(&request);
            let is_stored = answer.header("cache-status") == STORED;
            assert_eq!(is_stored, is_ended, "{parts}: {request:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn it_survives_a_restart() {
    let mut server = server().await;
    for what in [json!({ "collection": "docs" }), json!({ "tag": "collection:docs" })] {
        server.sigterm();
        server.wait().await;
        server = server.restart().await;
        let before = asked(&server, "docs").await;
        assert!(before.header("cache-status").ends_with("; detail=shared"), "{before:?}");
        invalidated(&server, what).await;
        server.kill9().await;
        server = server.restart().await;
        assert_via(&asked(&server, "docs").await, STORED);
        let other = asked(&server, "more").await;
        assert!(other.header("cache-status").ends_with("; detail=shared"), "{other:?}");
    }
}

#[tokio::test]
async fn only_a_soft_one_leaves_old_answers_to_the_policy() {
    let server = server_with(&[("stale_after_change_ms", DAY_MS)]).await;
    for what in [json!("everything"), json!({ "tag": "collection:docs" })] {
        let before = asked(&server, "docs").await;
        assert_hit(&before);
        let body = json!({ "what": what, "soft": true });
        let position = server.administer("cache/invalidate", &body).await;
        let position = position.json()["invalidated"][0]["position"].as_u64().unwrap();
        let old = asked(&server, "docs").await;
        assert!(old.header("cache-status").ends_with(AFTER_CHANGE), "{what}: {old:?}");
        assert!(old.position() < position, "it states its own position");
        eventually("it is made again", async || {
            let answer = asked(&server, "docs").await;
            let is_new = answer.header("cache-status").ends_with(AFTER_CHANGE);
            (!is_new && answer.position() >= position).then_some(())
        })
        .await;
        assert_hit(&asked(&server, "docs").await);
        invalidated(&server, what.clone()).await;
        assert_via(&asked(&server, "docs").await, STORED);
    }
}

#[tokio::test]
async fn who_comes_after_it_does_not_get_what_was_begun_before() {
    for what in [json!("everything"), json!({ "tag": "collection:docs" })] {
        let server = server_with_slow_reader().await;
        let client = &server.client;
        client.create("docs").await;
        client.ingest("docs", &[document("first", "A harbour.")]).await;
        let question = json!({ "collection": "docs", "text": "harbour", "work": 400_000 });
        let slow = |client: Client, question: Value| {
            tokio::spawn(async move { ask(&client, "slow", &question).await })
        };
        let before = slow(client.clone(), question.clone());
        searched(&server, 1).await;
        invalidated(&server, what.clone()).await;
        let after = slow(client.clone(), question.clone());
        missed(client, "slow", 2).await;
        assert_eq!(runs(client, "slow").await, 0.0, "the first one is still running");
        let (before, after) = (before.await.unwrap(), after.await.unwrap());
        before.assert_status(200);
        after.assert_status(200);
        assert_ne!(after.header("cache-status"), COLLAPSED, "{what}: {after:?}");
        assert_eq!(runs(client, "slow").await, 2.0, "{what}");
    }
}

#[tokio::test]
async fn a_kept_failure_ends_too() {
    let server = Server::with(|config| {
        config.search();
        super::asking::under_default(config, "trap", "trap", &[]);
        config.set("policies.default.settings.failure_ttl_ms", DAY_MS);
    })
    .await;
    let client = &server.client;
    for _ in 0..2 {
        ask(client, "trap", &json!({})).await.assert_problem(500, "pipeline-trapped");
    }
    assert_eq!(runs(client, "trap").await, 1.0);
    invalidated(&server, json!({ "pipeline": "trap" })).await;
    ask(client, "trap", &json!({})).await.assert_problem(500, "pipeline-trapped");
    assert_eq!(runs(client, "trap").await, 2.0);
}

#[tokio::test]
async fn what_cannot_be_invalidated_is_refused() {
    let server = server().await;
    let long = "x".repeat(5_000);
    for (body, said) in [
        (json!({ "what": { "prefix": { "pipeline": "search", "parts": [] } } }), "1 to 4 parts"),
        (
            json!({ "what": { "prefix": { "pipeline": "search", "parts": ["", "", "", "", ""] } } }),
            "1 to 4 parts",
        ),
        (json!({ "what": { "prefix": { "pipeline": "search", "parts": [long] } } }), "at most"),
        (json!({ "what": { "key": "12" } }), "64 hexadecimal digits"),
        (json!({ "what": { "tag": "" } }), "empty"),
        (json!({ "what": { "colection": "docs" } }), "colection"),
        (json!({ "what": { "collection": "No Name" } }), "name"),
        (json!({ "soft": true }), "what"),
        (json!({ "what": "everything", "hard": true }), "hard"),
        (json!([]), "The body"),
    ] {
        let answer = server.administer("cache/invalidate", &body).await;
        answer.assert_problem(400, "invalid-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{body}: {answer:?}");
    }
    let body = json!({ "what": "everything", "tenant": "nobody" });
    server.administer("cache/invalidate", &body).await.assert_problem(404, "unknown-tenant");
    let text = server.admin.request("POST", "/admin/v1/cache/invalidate");
    let text = text.bearer_auth(server.admin_token()).body("everything");
    Answer::to(text).await.assert_problem(415, "unsupported-media-type");
    assert_hit(&asked(&server, "docs").await);
}

#[tokio::test]
async fn it_is_of_one_tenant_or_of_all() {
    let server = Server::with(|config| {
        config.search();
        for name in ["acme", "globex"] {
            config.set(&format!("tenants.{name}.hosts"), vec![format!("{name}.example")]);
        }
    })
    .await;
    let send = async |tenant: &str, method: &str, path: &str, body: Value| {
        let request =
            server.client.request(method, path).header("host", format!("{tenant}.example"));
        Answer::to(request.header("content-type", "application/json").body(body.to_string())).await
    };
    let ask =
        async |tenant: &str| send(tenant, "POST", "/v1/pipelines/search", about("docs")).await;
    for tenant in ["acme", "globex"] {
        send(tenant, "PUT", "/v1/collections/docs", json!({})).await.assert_status(201);
        assert_via(&ask(tenant).await, STORED);
    }
    let body = json!({ "what": "everything", "tenant": "acme" });
    let answer = server.administer("cache/invalidate", &body).await;
    assert_eq!(answer.json()["invalidated"].as_array().unwrap().len(), 1);
    assert_via(&ask("acme").await, STORED);
    assert_hit(&ask("globex").await);
    let answer = server.administer("cache/invalidate", &json!({ "what": "everything" })).await;
    assert_eq!(answer.json()["invalidated"].as_array().unwrap().len(), 2);
    assert_via(&ask("acme").await, STORED);
    assert_via(&ask("globex").await, STORED);
    let described = json!({ "pipeline": "search", "body": about("docs") });
    let answer = server.administer("cache/explain", &described).await;
    answer.assert_problem(400, "invalid-request");
    assert!(answer.text().contains("several tenants"), "{answer:?}");
}

#[tokio::test]
async fn answers_are_made_in_advance() {
    let server = server().await;
    let request = |query: &str| json!({ "pipeline": "search", "body": { "query": query, "mode": "keyword" } });
    let list = [request("yeast"), request("flour"), json!({ "pipeline": "nothing", "body": {} })];
    let body = json!({ "requests": list, "rate_per_second": 1_000 });
    let answer = server.administer("cache/warm", &body).await;
    answer.assert_status(200);
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "index": 0, "cache_status": STORED }));
    assert_eq!(lines[2]["code"], "unknown-pipeline");
    assert_eq!(lines[3], json!({ "answered": 2, "failed": 1 }));
    let question = json!({ "query": "yeast", "mode": "keyword" });
    assert_hit(&ask(&server.client, "search", &question).await);
    for body in [
        json!({ "requests": [] }),
        json!({ "requests": [request("a")], "rate_per_second": 0 }),
        json!({ "requests": [request("a")], "rate_per_second": 1_001 }),
    ] {
        server.administer("cache/warm", &body).await.assert_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn one_list_is_warmed_at_a_time_and_only_while_somebody_reads() {
    let server = server().await;
    let request = json!({ "pipeline": "search", "body": about("docs") });
    let body = json!({ "requests": vec![request; 100], "rate_per_second": 1 }).to_string();
    let warm = || {
        let request = server.admin.request("POST", "/admin/v1/cache/warm");
        let request = request.bearer_auth(server.admin_token());
        request.header("content-type", "application/json").body(body.clone())
    };
    let mut first = warm().send().await.unwrap();
    assert!(first.chunk().await.unwrap().is_some());
    Answer::to(warm()).await.assert_problem(503, "overloaded");
    drop(first);
    eventually("the first has ended", async || {
        let answer = warm().timeout(Duration::from_secs(5)).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let server = server().await;
    let config = server.folder().join("weir.toml");
    let url = server.admin_url();
    let base = ["cache", "--config", config.to_str().unwrap(), "--url", &url];
    let run = async |arguments: &[&str]| weir(&[&base[..], arguments].concat()).await;
    let request = about("docs").to_string();

    let told = run(&["explain", "search", &request]).await;
    assert!(told.success, "{told:?}");
    for text in ["hit: weir; hit; ttl=", "key ", "depends on collection:docs"] {
        assert!(told.stdout.contains(text), "no {text:?} in {}", told.stdout);
    }
    let told = run(&["--json", "explain", "search", &request]).await;
    let json: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(json["outcome"], "hit");

    let told = run(&["invalidate", "--collection", "docs"]).await;
    assert!(told.stdout.starts_with("invalidated for default at position "), "{told:?}");
    let told = run(&["explain", "search", &request]).await;
    assert!(told.stdout.contains("it was invalidated"), "{told:?}");
    assert_via(&asked(&server, "docs").await, STORED);
    let part = json["parts"][0]["text"].as_str().unwrap();
    let told = run(&["invalidate", "--pipeline", "search", "--part", part, "--soft"]).await;
    assert!(told.success, "{told:?}");
    assert_via(&asked(&server, "docs").await, STORED);

    let file = server.folder().join("requests.ndjson");
    std::fs::write(&file, format!("{}\n", json!({ "pipeline": "search", "body": about("docs") })))
        .unwrap();
    let told = run(&["warm", file.to_str().unwrap(), "--rate", "100"]).await;
    assert!(
        told.stdout.contains("1/1 weir; hit") && told.stdout.contains("1 answered, 0 not"),
        "{told:?}"
    );

    for (arguments, texts) in [
        (&["explain", "search", "{"][..], &["is not JSON"][..]),
        (&["explain", "nothing", "{}"], &["There is no pipeline 'nothing'"]),
        (&["invalidate"], &["--everything"]),
        (&["invalidate", "--key", "12"], &["64 hexadecimal digits"]),
        (&["warm", "missing.ndjson"], &["cannot read missing.ndjson"]),
    ] {
        run(arguments).await.assert_refused(texts);
    }
    weir(&["cache", "explain", "search", "{}"]).await.assert_refused(&["--token-file"]);
}
