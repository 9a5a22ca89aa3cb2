//! Which answers are kept, under which key, and when they are no longer served.

use serde_json::{Value, json};

use super::asking::{STORED, ask, assert_hit, assert_via, runs, send};
use crate::harness::{Client, Config, Server, document, eventually, plugin};

/// A server that hosts `search` and, as `echo`, the pipeline that answers the request's body,
/// both under the default policy.
async fn server() -> Server {
    Server::with(search_and_echo).await
}

fn search_and_echo(config: &mut Config) {
    config.search().pipeline("echo", &plugin("echo"), &[]).set("pipelines.echo.policy", "default");
}

/// A collection `docs` with one document on bread.
async fn bake(client: &Client) {
    client.create("docs").await;
    client.ingest("docs", &[document("bread", "Bread is baked from flour and water.")]).await;
}

#[tokio::test]
async fn an_answer_is_kept_and_the_next_client_gets_its_bytes() {
    let server = server().await;
    let client = &server.client;
    bake(client).await;
    let question = json!({ "query": "flour" });

    let miss = client.search(&question).await;
    assert_via(&miss, STORED);
    assert_eq!(miss.header("age"), "", "only a hit has an age");
    assert_eq!(miss.ids(), ["bread"]);

    let hit = client.search(&question).await;
    assert!((3_500..=3_600).contains(&assert_hit(&hit)), "{hit:?}");
    assert!(hit.header("age").parse::<u64>().unwrap() < 100, "{hit:?}");
    assert_eq!(hit.body, miss.body);
    for same in ["etag", "content-type", "cache-control"] {
        assert_eq!(hit.header(same), miss.header(same), "{same}");
        assert_ne!(hit.header(same), "", "{same}");
    }
    assert!(hit.header("etag").starts_with('"') && hit.header("etag").ends_with('"'));
    assert_eq!(runs(client, "search").await, 1.0);
}

#[tokio::test]
async fn methods_and_spellings_of_the_same_json_share_one_key() {
    let server = server().await;
    let client = &server.client;
    let first = send(client, "POST", "echo", r#"{"a":1,"b":{"c":"x","d":[true,null]}}"#, &[]).await;
    assert_via(&first, STORED);
    assert_eq!(first.text(), r#"{"a":1,"b":{"c":"x","d":[true,null]}}"#);
    for (method, text) in [
        ("POST", r#"{"a":1,"b":{"c":"x","d":[true,null]}}"#),
        ("QUERY", r#"{"a":1,"b":{"c":"x","d":[true,null]}}"#),
        ("GET", r#"{"a":1,"b":{"c":"x","d":[true,null]}}"#),
        ("POST", r#"{"b":{"d":[true,null],"c":"x"},"a":1}"#),
        ("QUERY", " {\n\t\"a\" : 1 , \"b\" : { \"c\" : \"\\u0078\", \"d\":[ true,null ] } }\n"),
        ("GET", r#"{"b" : {"d" : [true, null], "c" : "\u0078"}, "\u0061" : 1}"#),
    ] {
        let again = send(client, method, "echo", text, &[]).await;
        assert_hit(&again);
        assert_eq!(again.body, first.body, "{method} {text}");
        assert_eq!(again.header("etag"), first.header("etag"), "{method} {text}");
    }
    assert_eq!(runs(client, "echo").await, 1.0);
}

#[tokio::test]
async fn different_requests_have_different_keys() {
    let server = server().await;
    let client = &server.client;
    let texts = [
        r#"{"n":1}"#,
        r#"{"n":1.0}"#,
        r#"{"n":1e0}"#,
        r#"{"n":"1"}"#,
        r#"{"n":[1]}"#,
        r#"{"n":null}"#,
        r#"{"n":true}"#,
        r#"{"N":1}"#,
        r#"{}"#,
        r#"{"n":[1,2]}"#,
        r#"{"n":[2,1]}"#,
        r#"{"n":""}"#,
        r#"{"n":" "}"#,
        r#"{"n":"é"}"#,
        "{\"n\":\"e\u{301}\"}",
    ];
    for text in texts {
        let answer = send(client, "POST", "echo", text, &[]).await;
        assert_via(&answer, STORED);
        assert_eq!(answer.text(), text);
    }
    for text in texts {
        let answer = send(client, "GET", "echo", text, &[]).await;
        assert_hit(&answer);
        assert_eq!(answer.text(), text);
    }
}

#[tokio::test]
async fn a_head_has_the_headers_of_its_get() {
    let server = server().await;
    let client = &server.client;
    let get = send(client, "GET", "echo", r#"{"a":1}"#, &[]).await;
    let head = send(client, "HEAD", "echo", r#"{"a":1}"#, &[]).await;
    assert_hit(&head);
    assert!(head.body.is_empty());
    assert_eq!(head.header("etag"), get.header("etag"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[tokio::test]
async fn a_client_that_has_the_answer_gets_304_except_for_post() {
    let server = server().await;
    let client = &server.client;
    bake(client).await;
    let question = r#"{"query":"flour"}"#;
    let first = send(client, "GET", "search", question, &[]).await;
    assert_via(&first, STORED);
    let etag = first.header("etag").to_owned();
    let weak = format!("\"other\", W/{etag}");

    for (method, condition, status) in [
        ("GET", etag.as_str(), 304),
        ("QUERY", etag.as_str(), 304),
        ("GET", weak.as_str(), 304),
        ("QUERY", "*", 304),
        ("GET", "\"other\"", 200),
        ("QUERY", "\"other\"", 200),
        ("POST", etag.as_str(), 200),
        ("POST", "*", 200),
    ] {
        let answer =
            send(client, method, "search", question, &[("if-none-match", condition)]).await;
        assert_eq!(answer.status, status, "{method} {condition}: {answer:?}");
        assert_eq!(answer.body.is_empty(), status == 304, "{method} {condition}");
        assert_eq!(answer.header("etag"), etag, "{method} {condition}");
        assert_eq!(answer.position(), first.position(), "{method} {condition}");
    }
    // A new run gives the same answer, so the client still has the current one.
    client.ingest("docs", &[document("stone", "Granite is a stone.")]).await;
    client.delete("/v1/collections/docs/documents/stone").await.assert_status(200);
    let same = send(client, "GET", "search", question, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, same.header("cache-status")), (304, STORED));
    // A different answer is sent in full.
    client.ingest("docs", &[document("mill", "A mill grinds flour.")]).await;
    let other = send(client, "GET", "search", question, &[("if-none-match", &etag)]).await;
    assert_via(&other, STORED);
    assert_ne!(other.header("etag"), etag);
}

#[tokio::test]
async fn a_write_invalidates_what_read_its_collection_and_nothing_else() {
    let server = server().await;
    let client = &server.client;
    bake(client).await;
    client.create("other").await;
    let question = json!({ "query": "flour", "mode": "keyword" });
    let found = async |via: &str, ids: &[&str]| {
        let answer = client.search(&question).await;
        assert_via(&answer, via);
        assert_eq!(answer.ids(), ids);
        let hit = client.search(&question).await;
        assert_hit(&hit);
        assert_eq!(hit.body, answer.body);
    };
    found(STORED, &["bread"]).await;

    client.ingest("other", &[document("mill", "A mill grinds flour.")]).await;
    assert_hit(&client.search(&question).await);

    client.ingest("docs", &[document("flour", "Flour, flour, flour.")]).await;
    found(STORED, &["flour", "bread"]).await;

    let replaced = document("flour", "Nothing of the kind.");
    client.ingest("docs", &[replaced]).await;
    found(STORED, &["bread"]).await;

    client.delete("/v1/collections/docs/documents/bread").await.assert_status(200);
    found(STORED, &[]).await;

    client.delete("/v1/collections/other").await.assert_status(200);
    assert_hit(&client.search(&question).await);
    client.delete("/v1/collections/docs").await.assert_status(200);
    ask(client, "search", &question).await.assert_problem(404, "unknown-collection");

    bake(client).await;
    found(STORED, &["bread"]).await;
}

#[tokio::test]
async fn a_write_that_changes_nothing_invalidates_nothing() {
    let server = server().await;
    let client = &server.client;
    bake(client).await;
    let question = json!({ "query": "flour" });
    client.search(&question).await;
    client.ingest("docs", &[document("bread", "Bread is baked from flour and water.")]).await;
    client.delete("/v1/collections/docs/documents/absent").await.assert_status(404);
    client.put("/v1/collections/docs").await.assert_status(200);
    assert_hit(&client.search(&question).await);
}

#[tokio::test]
async fn failures_are_not_kept() {
    let server = server().await;
    let client = &server.client;
    let question = json!({ "query": "flour" });
    for _ in 0..2 {
        ask(client, "search", &question).await.assert_problem(404, "unknown-collection");
        ask(client, "search", &json!({ "query": "" })).await.assert_problem(400, "invalid-query");
    }
    assert_eq!(runs(client, "search").await, 4.0);
    bake(client).await;
    assert_eq!(client.search(&question).await.ids(), ["bread"]);
}

#[tokio::test]
async fn an_answer_is_not_served_after_its_ttl() {
    let server = Server::with(|config| {
        search_and_echo(config);
        config.set("policies.default.settings.ttl_ms", 200);
    })
    .await;
    let client = &server.client;
    let request = json!({ "a": 1 });
    assert_via(&ask(client, "echo", &request).await, STORED);
    eventually("the entry expires", async || {
        let answer = ask(client, "echo", &request).await;
        if answer.header("cache-status") == STORED {
            return Some(());
        }
        assert_eq!((assert_hit(&answer), answer.header("age")), (0, "0"));
        None
    })
    .await;
    assert_eq!(runs(client, "echo").await, 2.0);
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_for_entries_is_not_kept() {
    let server = Server::with(|config| {
        search_and_echo(config);
        config.set("cache.max_entry_bytes", 4_096);
    })
    .await;
    let client = &server.client;
    let (small, large) = (json!("s".repeat(2_000)), json!("l".repeat(4_096)));
    assert_via(&ask(client, "echo", &small).await, STORED);
    assert_hit(&ask(client, "echo", &small).await);
    let refused = ask(client, "echo", &large).await;
    assert_via(&refused, "weir; fwd=miss; detail=too-large");
    for _ in 0..2 {
        let again = ask(client, "echo", &large).await;
        assert_via(&again, "weir; fwd=miss; detail=uncacheable");
        assert_eq!(again.json(), large);
    }
    assert_hit(&ask(client, "echo", &small).await);
}

#[tokio::test]
async fn the_memory_tier_stays_within_its_limit() {
    let server = Server::with(|config| {
        search_and_echo(config);
        config.set("cache.memory_bytes", 200_000).set("cache.max_entry_bytes", 20_000);
        config.set("cache.shared.backend", "none");
    })
    .await;
    let client = &server.client;
    let request = |number: usize| json!({ "number": number, "text": "x".repeat(10_000) });
    // The tier evicts shortly after an insertion.
    eventually("at most 20 entries of 10,000 bytes are in 200,000", async || {
        let mut hits = 0;
        for number in 0..100 {
            let answer = ask(client, "echo", &request(number)).await;
            assert_eq!(answer.json(), request(number));
            hits += usize::from(answer.header("cache-status") != STORED);
        }
        (1..=20).contains(&hits).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pipeline_without_a_policy_is_never_cached() {
    let server = Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let client = &server.client;
    for _ in 0..3 {
        let answer = ask(client, "echo", &json!({ "a": 1 })).await;
        assert_via(&answer, "weir; fwd=bypass; detail=no-policy");
        assert_eq!(answer.json(), json!({ "a": 1 }));
    }
    assert_eq!(runs(client, "echo").await, 3.0);
}

#[tokio::test]
async fn pipelines_do_not_share_keys() {
    let server = Server::with(|config| {
        search_and_echo(config);
        config.pipeline("again", &plugin("echo"), &[]).set("pipelines.again.policy", "default");
    })
    .await;
    let request: Value = json!({ "a": 1 });
    for pipeline in ["echo", "again"] {
        assert_via(&ask(&server.client, pipeline, &request).await, STORED);
        assert_hit(&ask(&server.client, pipeline, &request).await);
    }
}
