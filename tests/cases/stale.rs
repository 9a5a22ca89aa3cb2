//! What is served when there is nothing fresh: old answers as far as their policy allows it, marked and at
//! the position that they are exact at, and kept failures.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::asking::{
    CHANGED, STORED, ask, ask_with, assert_hit, assert_via, path, runs, searched,
    server_with_slow_reader, under_default,
};
use crate::harness::{Answer, Client, Config, Raw, Server, document, eventually};

const DAY_MS: i64 = 86_400_000;
const WHILE_REVALIDATE: &str = "stale-while-revalidate";
const IF_ERROR: &str = "stale-if-error";
const AFTER_CHANGE: &str = "stale-after-change";

fn bread() -> Value {
    json!({ "query": "flour", "mode": "keyword" })
}

fn set_policy(config: &mut Config, settings: &[(&str, i64)]) {
    for (name, value) in settings {
        config.set(&format!("policies.default.settings.{name}"), *value);
    }
}

/// A server that hosts `search` under these settings of its policy, with a document.
async fn server(settings: &[(&str, i64)]) -> Server {
    let server = Server::with(|config| {
        config.search();
        set_policy(config, settings);
    })
    .await;
    server.client.create("docs").await;
    bake(&server.client, "bread").await;
    server
}

/// Lets a ttl of 1 ms pass.
async fn expire() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

async fn bake(client: &Client, id: &str) -> Answer {
    client.ingest("docs", &[document(id, "Bread is made of flour.")]).await
}

/// Asserts that an answer is an old one, served for this reason, and returns its ttl.
#[track_caller]
fn assert_stale(answer: &Answer, reason: &str) -> i64 {
    answer.assert_status(200);
    let status = answer.header("cache-status").to_owned();
    let ttl = status.strip_prefix("weir; hit; ttl=").and_then(|rest| rest.split_once("; detail="));
    let ttl = ttl.filter(|(_, detail)| *detail == reason).and_then(|(ttl, _)| ttl.parse().ok());
    assert!(answer.header("age").parse::<u64>().is_ok(), "{answer:?}");
    ttl.unwrap_or_else(|| panic!("not {reason}: {answer:?}"))
}

/// Waits until `count` answers have been made again in the background and stored.
async fn refreshed(client: &Client, count: f64) {
    eventually("it is refreshed", async || {
        let stored = client.metric("weir_cache_refreshes_total", &[("outcome", "stored")]).await;
        (stored >= count).then_some(())
    })
    .await;
}

async fn served_stale(client: &Client, reason: &str) -> f64 {
    client.metric("weir_cache_stale_total", &[("reason", reason)]).await
}

#[tokio::test]
async fn an_expired_answer_is_served_while_a_new_one_is_made() {
    let server = server(&[("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS)]).await;
    let client = &server.client;
    let before = ask(client, "search", &bread()).await;
    assert_via(&before, STORED);
    expire().await;
    let stale = ask(client, "search", &bread()).await;
    assert!(assert_stale(&stale, WHILE_REVALIDATE) < 0, "{stale:?}");
    assert_eq!((stale.stated(), &stale.body), (before.stated(), &before.body));
    refreshed(client, 1.0).await;
    assert_eq!(runs(client, "search").await, 2.0);
    assert_eq!(served_stale(client, WHILE_REVALIDATE).await, 1.0);
    let stale = client.metric("weir_cache_lookups_total", &[("outcome", "stale")]).await;
    assert_eq!(stale, 1.0);
}

#[tokio::test]
async fn an_expired_answer_states_the_newest_position_that_it_is_exact_at() {
    let server = server(&[("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS)]).await;
    let client = &server.client;
    ask(client, "search", &bread()).await;
    // Another collection than the one that it read.
    client.create("more").await;
    let wrote = client.ingest("more", &[document("one", "Something else.")]).await;
    let demanded = ("weir-min-position", wrote.header("weir-position"));
    let stale = ask_with(client, "search", &bread(), demanded).await;
    assert_stale(&stale, WHILE_REVALIDATE);
    assert_eq!(stale.position(), wrote.position());
}

#[tokio::test]
async fn without_permission_nothing_old_is_served() {
    let server = server(&[("ttl_ms", 1)]).await;
    let client = &server.client;
    for runs_by_then in [1.0, 2.0, 3.0] {
        assert_via(&ask(client, "search", &bread()).await, STORED);
        assert_eq!(runs(client, "search").await, runs_by_then);
        expire().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_for_an_expired_answer_have_it_made_once() {
    const CLIENTS: usize = 200;
    let server = server(&[("ttl_ms", 1_000), ("stale_while_revalidate_ms", DAY_MS)]).await;
    let client = &server.client;
    assert_via(&ask(client, "search", &bread()).await, STORED);
    eventually("it has expired", async || {
        let answer = ask(client, "search", &bread()).await;
        answer.header("cache-status").ends_with(WHILE_REVALIDATE).then_some(())
    })
    .await;
    refreshed(client, 1.0).await;
    let start = Arc::new(Barrier::new(CLIENTS));
    let mut asking = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, start) = (client.clone(), Arc::clone(&start));
        asking.spawn(async move {
            start.wait().await;
            ask(&client, "search", &bread()).await.assert_status(200);
        });
    }
    asking.join_all().await;
    // Within a second of the first refresh there is at most one more.
    assert!(runs(client, "search").await <= 3.0);
}

#[tokio::test]
async fn a_hit_of_some_age_is_refreshed() {
    let server = server(&[("refresh_after_ms", 1)]).await;
    let client = &server.client;
    assert_via(&ask(client, "search", &bread()).await, STORED);
    // It is older than that, then.
    expire().await;
    assert_hit(&ask(client, "search", &bread()).await);
    refreshed(client, 1.0).await;
    assert_eq!(runs(client, "search").await, 2.0);
}

/// The answer takes a while to make, so a few hits in a hundred come early enough, and more as its ttl
/// ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_long_is_refreshed_before_it_expires() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "slow", "slow-reader", &["read", "logging"]);
        config.set("pipelines.slow.deadline_ms", 120_000);
        set_policy(config, &[("ttl_ms", 60_000), ("early_refresh_percent", 1_000)]);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    moor(client, "first").await;
    let question = harbour(100_000);
    assert_via(&ask(client, "slow", &question).await, STORED);
    eventually("it is refreshed", async || {
        assert_hit(&ask(client, "slow", &question).await);
        let refreshes = client.metric("weir_cache_refreshes_total", &[("outcome", "stored")]).await;
        (refreshes > 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_changed_answer_is_served_for_as_long_as_allowed_and_states_its_own_position() {
    let server = server(&[("stale_after_change_ms", DAY_MS)]).await;
    let client = &server.client;
    let before = ask(client, "search", &bread()).await;
    assert_via(&before, STORED);
    let wrote = bake(client, "roll").await;
    let stale = ask(client, "search", &bread()).await;
    assert!(assert_stale(&stale, AFTER_CHANGE) > 0, "its ttl has not passed: {stale:?}");
    assert_eq!((stale.stated(), &stale.body), (before.stated(), &before.body));
    assert!(stale.position() < wrote.position());
    refreshed(client, 1.0).await;
    let after = ask(client, "search", &bread()).await;
    assert_hit(&after);
    assert_eq!(after.ids().len(), 2);
    assert!(after.position() >= wrote.position());
}

#[tokio::test]
async fn a_demanded_position_refuses_what_was_before_a_change() {
    let server = server(&[("stale_after_change_ms", DAY_MS)]).await;
    let client = &server.client;
    assert_via(&ask(client, "search", &bread()).await, STORED);
    let wrote = bake(client, "roll").await;
    let demanded = ("weir-min-position", wrote.header("weir-position"));
    let answer = ask_with(client, "search", &bread(), demanded).await;
    assert_via(&answer, STORED);
    assert_eq!(answer.ids().len(), 2);
    assert_eq!(served_stale(client, AFTER_CHANGE).await, 0.0);
}

#[tokio::test]
async fn the_time_after_a_change_counts_from_its_commit() {
    let server = server(&[("stale_after_change_ms", 1)]).await;
    let client = &server.client;
    assert_via(&ask(client, "search", &bread()).await, STORED);
    // Until it is searchable, and answered, more than that has passed.
    bake(client, "roll").await;
    let answer = ask(client, "search", &bread()).await;
    assert_via(&answer, STORED);
    assert_eq!(answer.ids().len(), 2);
}

#[tokio::test]
async fn after_its_ttl_and_a_change_both_permissions_are_needed() {
    let changes = ("stale_after_change_ms", DAY_MS);
    for (settings, reason) in [
        (vec![("ttl_ms", 1), changes], None),
        (vec![("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS)], None),
        (vec![("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS), changes], Some(AFTER_CHANGE)),
    ] {
        let server = server(&settings).await;
        let client = &server.client;
        assert_via(&ask(client, "search", &bread()).await, STORED);
        bake(client, "roll").await;
        let answer = ask(client, "search", &bread()).await;
        match reason {
            Some(reason) => assert!(assert_stale(&answer, reason) < 0, "{answer:?}"),
            None => assert_via(&answer, STORED),
        }
    }
}

#[tokio::test]
async fn what_was_before_a_restart_is_not_served_after_a_change() {
    let mut server = server(&[("stale_after_change_ms", DAY_MS)]).await;
    assert_via(&ask(&server.client, "search", &bread()).await, STORED);
    bake(&server.client, "roll").await;
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let server = server.restart().await;
    let answer = ask(&server.client, "search", &bread()).await;
    assert_via(&answer, STORED);
    assert_eq!(answer.ids().len(), 2);
}

#[tokio::test]
async fn an_expired_answer_of_the_shared_tier_is_stale_after_a_restart() {
    let mut server = server(&[("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS)]).await;
    let before = ask(&server.client, "search", &bread()).await;
    assert_via(&before, STORED);
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let server = server.restart().await;
    let client = &server.client;
    let stale = ask(client, "search", &bread()).await;
    assert!(assert_stale(&stale, WHILE_REVALIDATE) < 0, "{stale:?}");
    assert_eq!((stale.stated(), &stale.body), (before.stated(), &before.body));
    refreshed(client, 1.0).await;
}

#[tokio::test]
async fn what_is_only_for_errors_is_made_again_and_stored_after_a_restart() {
    let mut server = server(&[("ttl_ms", 1), ("stale_if_error_ms", DAY_MS)]).await;
    assert_via(&ask(&server.client, "search", &bread()).await, STORED);
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let server = server.restart().await;
    assert_via(&ask(&server.client, "search", &bread()).await, STORED);
    assert_eq!(runs(&server.client, "search").await, 1.0);
}

/// The question that `slow` answers, with so much work.
fn harbour(work: u64) -> Value {
    json!({ "collection": "docs", "text": "harbour", "work": work })
}

async fn moor(client: &Client, id: &str) -> Answer {
    client.ingest("docs", &[document(id, "A boat lies in the harbour.")]).await
}

/// A write that comes while an answer is refreshed: neither the old answer nor the one that is being
/// made is served afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_overtakes_a_refresh() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "slow", "slow-reader", &["read", "logging"]);
        config.set("pipelines.slow.deadline_ms", 120_000);
        set_policy(config, &[("ttl_ms", 1), ("stale_while_revalidate_ms", DAY_MS)]);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    moor(client, "first").await;
    let question = harbour(200_000);
    assert_via(&ask(client, "slow", &question).await, STORED);
    expire().await;
    assert_stale(&ask(client, "slow", &question).await, WHILE_REVALIDATE);
    searched(&server, 2).await;
    let wrote = moor(client, "second").await;
    assert_eq!(client.metric("weir_cache_refreshes_total", &[]).await, 0.0, "it is running");
    let answer = ask(client, "slow", &question).await;
    answer.assert_status(200);
    assert_eq!(answer.json(), json!({ "ids": ["first", "second"] }), "{answer:?}");
    assert!(answer.position() >= wrote.position());
    let not_stored =
        client.metric("weir_cache_refreshes_total", &[("outcome", "not-stored")]).await;
    assert_eq!(not_stored, 1.0, "what it read has changed: {CHANGED}");
}

/// A server whose only slot for `slow` is taken, with an expired answer of `slow` to the question
/// without work.
async fn busy(settings: &[(&str, i64)], queue_timeout_ms: i64) -> (Server, Raw) {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "slow", "slow-reader", &["read", "logging"]);
        config
            .set("pipelines.slow.deadline_ms", 3_600_000)
            .set("engine.max_concurrent_guests", 1)
            .set("engine.queue_timeout_ms", queue_timeout_ms);
        set_policy(config, settings);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    moor(client, "first").await;
    assert_via(&ask(client, "slow", &harbour(0)).await, STORED);
    let body = harbour(1 << 50).to_string();
    let mut raw = Raw::connect(server.address).await;
    raw.send(&format!(
        "POST {} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        path("slow"),
        body.len()
    ))
    .await;
    searched(&server, 2).await;
    (server, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_answer_is_served_when_no_new_one_can_be_made() {
    let (server, _busy) = busy(&[("ttl_ms", 1), ("stale_if_error_ms", DAY_MS)], 50).await;
    let answer = ask(&server.client, "slow", &harbour(0)).await;
    assert!(assert_stale(&answer, IF_ERROR) < 0, "{answer:?}");
    assert_eq!(answer.json(), json!({ "ids": ["first"] }));
    assert_eq!(served_stale(&server.client, IF_ERROR).await, 1.0);
    // What it does not have an answer to fails.
    ask(&server.client, "slow", &harbour(1)).await.assert_problem(503, "overloaded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_an_error_is_an_error() {
    let (server, _busy) = busy(&[("ttl_ms", 1)], 50).await;
    ask(&server.client, "slow", &harbour(0)).await.assert_problem(503, "overloaded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_no_longer_than_its_policy_says() {
    let soft = [("ttl_ms", 1), ("stale_if_error_ms", DAY_MS), ("soft_timeout_ms", 20)];
    let (server, _busy) = busy(&soft, 3_600_000).await;
    let answer = ask(&server.client, "slow", &harbour(0)).await;
    assert_stale(&answer, IF_ERROR);
    let hard = [("ttl_ms", 1), ("soft_timeout_ms", 1), ("hard_timeout_ms", 500)];
    let (server, _busy) = busy(&hard, 3_600_000).await;
    let answer = ask(&server.client, "slow", &harbour(0)).await;
    answer.assert_problem(504, "deadline-exceeded");
    assert!(answer.text().contains("500 ms"), "{}", answer.text());
}

#[tokio::test]
async fn a_kept_failure_is_given_until_something_changes_that_it_read() {
    let server = Server::with(|config| {
        config.search();
        set_policy(config, &[("failure_ttl_ms", DAY_MS)]);
    })
    .await;
    let client = &server.client;
    let first = ask(client, "search", &bread()).await;
    assert!(first.status >= 400, "there is no collection: {first:?}");
    assert_eq!(first.header("cache-status"), "");
    let kept = ask(client, "search", &bread()).await;
    assert_eq!(kept.status, first.status);
    assert_eq!(kept.json()["code"], first.json()["code"]);
    let status = kept.header("cache-status");
    assert!(status.starts_with("weir; hit; ttl="), "{kept:?}");
    assert!(status.ends_with("; detail=failure"), "{kept:?}");
    assert!(kept.header("age").parse::<u64>().is_ok());
    assert_eq!(runs(client, "search").await, 1.0);
    client.create("docs").await;
    let answer = ask(client, "search", &bread()).await;
    assert_via(&answer, STORED);
}

#[tokio::test]
async fn a_failure_is_not_kept_unless_the_policy_says_so() {
    let server = server_with_slow_reader().await;
    let client = &server.client;
    for runs_by_then in [1.0, 2.0] {
        let failed = ask(client, "search", &bread()).await;
        assert!(failed.status >= 400, "there is no collection: {failed:?}");
        assert_eq!(runs(client, "search").await, runs_by_then);
    }
}
