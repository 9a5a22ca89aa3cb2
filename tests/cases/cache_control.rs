//! What clients ask of the cache by `Cache-Control`, where the operator allows it and where not.

use serde_json::{Value, json};

use super::asking::{STORED, ask, ask_with, assert_hit, assert_via, runs};
use crate::harness::{Answer, Client, Server, plugin};

const FORCED: &str = "weir; fwd=request; stored";
const ALL: [&str; 4] = ["no-cache", "max-age", "no-store", "only-if-cached"];

/// A server whose pipeline `echo` allows these directives.
async fn server(allowed: &[&str]) -> Server {
    Server::with(|config| {
        config
            .search()
            .pipeline("echo", &plugin("echo"), &[])
            .set("pipelines.echo.policy", "default")
            .set("pipelines.echo.client_cache_control", allowed.to_vec());
    })
    .await
}

fn question() -> Value {
    json!({ "a": 1 })
}

async fn asking(client: &Client, directives: &str) -> Answer {
    ask_with(client, "echo", &question(), ("cache-control", directives)).await
}

#[tokio::test]
async fn directives_are_ignored_unless_they_are_allowed() {
    for (allowed, directives) in [
        (&[][..], "no-cache, max-age=0, no-store, only-if-cached"),
        (&["only-if-cached"][..], "no-cache"),
        (&["no-cache"][..], "max-age=0"),
    ] {
        let server = server(allowed).await;
        let client = &server.client;
        assert_via(&asking(client, directives).await, STORED);
        assert_hit(&asking(client, directives).await);
        assert_eq!(runs(client, "echo").await, 1.0);
    }
}

#[tokio::test]
async fn a_new_answer_is_made_and_stored() {
    let server = server(&ALL).await;
    let client = &server.client;
    for runs_by_then in [1.0, 2.0] {
        let answer = asking(client, "no-cache").await;
        assert_via(&answer, FORCED);
        assert_eq!(answer.json(), question());
        assert_eq!(runs(client, "echo").await, runs_by_then);
    }
    assert_hit(&ask(client, "echo", &question()).await);
}

#[tokio::test]
async fn an_answer_that_is_too_old_is_made_again() {
    let server = server(&ALL).await;
    let client = &server.client;
    assert_via(&ask(client, "echo", &question()).await, STORED);
    assert_hit(&asking(client, "max-age=3600").await);
    // By now it is older than nothing.
    assert_via(&asking(client, "max-age=0").await, FORCED);
    assert_eq!(runs(client, "echo").await, 2.0);
}

#[tokio::test]
async fn an_answer_is_not_stored_if_its_client_says_so() {
    let server = server(&ALL).await;
    let client = &server.client;
    for _ in 0..2 {
        assert_via(&asking(client, "no-store").await, "weir; fwd=miss; detail=no-store");
    }
    assert_via(&ask(client, "echo", &question()).await, STORED);
    assert_hit(&asking(client, "no-store").await);
}

#[tokio::test]
async fn no_run_is_made_for_a_client_that_wants_none() {
    let server = server(&ALL).await;
    let client = &server.client;
    asking(client, "only-if-cached").await.assert_problem(504, "not-cached");
    assert_eq!(runs(client, "echo").await, 0.0);
    assert_via(&ask(client, "echo", &question()).await, STORED);
    assert_hit(&asking(client, "only-if-cached").await);
    // The shared tier counts as well.
    let mut server = server;
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let server = server.restart().await;
    let answer = asking(&server.client, "only-if-cached").await;
    answer.assert_status(200);
    assert!(answer.header("cache-status").ends_with("; detail=shared"), "{answer:?}");
    assert_eq!(runs(&server.client, "echo").await, 0.0);
}
