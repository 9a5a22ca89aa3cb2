//! What an operator is shown of requests: lines of the log, and metrics.

use serde_json::{Value, json};

use super::asking::{
    COLLAPSED, STORED, ask, ask_with, assert_hit, assert_via, searched, server_with_slow_reader,
};
use crate::harness::{Client, Server, guest, plugin};

/// The ids of the requests that the lines of the log which contain `text` are about.
fn request_ids(server: &Server, text: &str) -> Vec<String> {
    let id = |line: &str| {
        let (_, id) = line.split_once("request_id=\"").unwrap_or_else(|| panic!("no id: {line}"));
        id.split('"').next().unwrap_or_default().to_owned()
    };
    server.log().lines().filter(|line| line.contains(text)).map(id).collect()
}

/// A question to `slow`, which logs that it has `searched`, and then works for a while.
fn slow_question(text: &str, work: u64) -> Value {
    json!({ "collection": "docs", "text": text, "work": work })
}

#[tokio::test]
async fn a_guests_line_has_the_id_of_its_request() {
    let server = server_with_slow_reader().await;
    let client = &server.client;
    client.create("docs").await;
    let question = slow_question("one", 0);
    let given = ask_with(client, "slow", &question, ("x-request-id", "given.1")).await;
    assert_via(&given, STORED);
    assert_eq!(given.header("x-request-id"), "given.1");
    // It runs no guest.
    assert_hit(&ask(client, "slow", &question).await);
    let made = ask(client, "slow", &slow_question("two", 0)).await;
    assert_via(&made, STORED);
    searched(&server, 2).await;
    assert_eq!(request_ids(&server, " searched "), ["given.1", made.header("x-request-id")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_others_follow_has_the_id_of_the_request_that_leads_it() {
    let server = server_with_slow_reader().await;
    server.client.create("docs").await;
    let asked = async |client: Client, id: &str| {
        ask_with(&client, "slow", &slow_question("one", 400_000), ("x-request-id", id)).await
    };
    let leader = tokio::spawn(asked(server.client.clone(), "leader"));
    searched(&server, 1).await;
    assert_via(&asked(server.client.clone(), "follower").await, COLLAPSED);
    assert_via(&leader.await.unwrap(), STORED);
    assert_eq!(request_ids(&server, " searched "), ["leader"]);
}

#[tokio::test]
async fn what_the_host_says_of_a_guest_has_the_id_of_the_request() {
    let server = Server::with(|config| {
        config
            .pipeline("slow", &guest("slow-reader"), &["logging"])
            .set("pipelines.slow.grants.collections.read", vec!["other"])
            .policy("traps", &guest("policy-traps"))
            .pipeline("echo", &plugin("echo"), &[])
            .set("pipelines.echo.policy", "traps");
    })
    .await;
    let client = &server.client;
    for (pipeline, id, status, line) in
        [("slow", "denied", 403, "read denied"), ("echo", "bypass", 200, "bypassing the cache")]
    {
        let question = slow_question("one", 0);
        let answer = ask_with(client, pipeline, &question, ("x-request-id", id)).await;
        answer.assert_status(status);
        server.logged(line).await;
        assert_eq!(request_ids(&server, line), [id]);
    }
}
