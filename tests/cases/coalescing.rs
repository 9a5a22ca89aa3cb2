//! Many clients with one question: how often the pipeline runs, and who gets which answer. Crowds of
//! thousands are in `crowds`.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, JoinSet};

use super::asking::{
    CHANGED, COLLAPSED, HIT, STORED, ask, ask_with, assert_hit, assert_via, begin, missed, runs,
    searched, send, server_with_slow_reader, under_default,
};
use crate::harness::{Answer, Client, Server, document, eventually};

/// The question that these tests ask `slow`: enough work to be busy while others write.
fn harbour() -> Value {
    json!({ "collection": "docs", "text": "harbour", "work": 400_000 })
}

/// Asks `slow` in a separate task.
fn ask_slow(client: &Client) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { ask(&client, "slow", &harbour()).await })
}

/// Stores a document that [`harbour`] finds.
async fn moor(client: &Client, id: &str) -> Answer {
    client.ingest("docs", &[document(id, "A boat lies in the harbour.")]).await
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.assert_status(200);
    serde_json::from_value(answer.json()["ids"].clone()).unwrap()
}

/// A server with `slow`, and the document `first` in the collection.
async fn harbour_server() -> Server {
    let server = server_with_slow_reader().await;
    server.client.create("docs").await;
    moor(&server.client, "first").await;
    server
}

/// Asks for `count` clients at once, each with its own connection.
async fn at_once<F>(count: usize, ask: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (start, asking) = (Arc::clone(&start), ask(number));
        clients.spawn(async move {
            start.wait().await;
            asking.await
        });
    }
    clients.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_with_one_cold_question_run_the_pipeline_once() {
    let server = Server::start().await;
    let client = server.client.clone();
    client.create("docs").await;
    client.ingest("docs", &[document("first", "A boat lies in the harbour.")]).await;
    for round in 1..=5 {
        let question = json!({ "query": format!("where do boats lie, {round}?") });
        let answers = at_once(200, |_| {
            let (client, question) = (client.clone(), question.clone());
            async move { ask(&client, "search", &question).await }
        })
        .await;
        assert_eq!(runs(&client, "search").await, f64::from(round));
        let stored = answers.iter().filter(|one| one.header("cache-status") == STORED).count();
        assert_eq!(stored, 1);
        for answer in &answers {
            let via = answer.header("cache-status");
            assert!(via == STORED || via == COLLAPSED || via.starts_with(HIT), "{answer:?}");
            assert_eq!(answer.ids(), ["first"]);
            assert_eq!(answer.body, answers[0].body);
            assert_eq!(answer.header("etag"), answers[0].header("etag"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_during_a_run_wait_for_that_run() {
    let server = harbour_server().await;
    let client = &server.client;
    let asked: Vec<_> = (0..200).map(|_| ask_slow(client)).collect();
    missed(client, "slow", 200).await;
    searched(&server, 1).await;
    assert_eq!(runs(client, "slow").await, 0.0, "no run has ended");
    moor(client, "second").await;
    let mut led = 0;
    for answer in asked {
        let answer = answer.await.unwrap();
        assert_eq!(ids(&answer), ["first"], "what was true when they all asked");
        led += usize::from(answer.header("cache-status") != COLLAPSED);
    }
    assert_eq!((led, runs(client, "slow").await), (1, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_shared_by_those_who_waited_and_not_kept() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "loop", "loop-forever", &[]);
        config.set("pipelines.loop.deadline_ms", 3_000);
    })
    .await;
    let client = server.client.clone();
    let answers = at_once(50, |_| {
        let client = client.clone();
        async move { ask(&client, "loop", &json!({})).await }
    });
    for answer in answers.await {
        answer.assert_problem(504, "deadline-exceeded");
    }
    assert_eq!(runs(&client, "loop").await, 1.0);
    ask(&client, "loop", &json!({})).await.assert_problem(504, "deadline-exceeded");
    assert_eq!(runs(&client, "loop").await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_races_with_a_write_never_leaves_the_old_answer() {
    let server = harbour_server().await;
    let client = &server.client;
    let racing = ask_slow(client);
    searched(&server, 1).await;
    let wrote = moor(client, "second").await;
    let answer = racing.await.unwrap();
    assert_via(&answer, CHANGED);
    assert_eq!(ids(&answer), ["first"], "it was made before the write");
    assert!(answer.position() < wrote.position(), "and says so: {answer:?} {wrote:?}");

    // The old answer is not kept, but the question is still cacheable: two clients that ask now
    // share one run.
    let again = [ask_slow(client), ask_slow(client)];
    missed(client, "slow", 3).await;
    searched(&server, 2).await;
    assert_eq!(runs(client, "slow").await, 1.0);
    moor(client, "third").await;
    for answer in again {
        let answer = answer.await.unwrap();
        assert_eq!(ids(&answer), ["first", "second"], "{answer:?}");
        assert!(answer.position() >= wrote.position(), "{answer:?} {wrote:?}");
    }
    assert_eq!(runs(client, "slow").await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_after_a_write_does_not_get_an_answer_begun_before_it() {
    let server = harbour_server().await;
    let client = &server.client;
    let leader = ask_slow(client);
    searched(&server, 1).await;
    let early = ask_slow(client);
    missed(client, "slow", 2).await;
    // A change of the collection that does not change the leader's answer.
    let unrelated = client.ingest("docs", &[document("hill", "A hill is seen.")]).await;
    let late = ask_slow(client);
    missed(client, "slow", 3).await;
    let second = moor(client, "second").await;

    for answer in [leader.await.unwrap(), early.await.unwrap()] {
        assert_eq!(ids(&answer), ["first"]);
        assert!(answer.position() < unrelated.position());
    }
    // `late` gets its own run, from the start.
    searched(&server, 2).await;
    moor(client, "third").await;
    let late = late.await.unwrap();
    assert_eq!(ids(&late), ["first", "second"], "{late:?}");
    assert!(late.position() >= second.position(), "{late:?} {second:?}");
    assert_eq!(runs(client, "slow").await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_made_from_a_header_outside_the_key_is_neither_kept_nor_shared() {
    const CLIENTS: usize = 50;
    let server = Server::with(|config| {
        config.search();
        under_default(config, "flavour", "reads-header", &[]);
    })
    .await;
    let client = server.client.clone();
    for round in 1..=3_usize {
        let answers = at_once(CLIENTS, |number| {
            let client = client.clone();
            async move {
                let flavour = format!("f{number}");
                let answer =
                    ask_with(&client, "flavour", &json!({}), ("x-flavour", &flavour)).await;
                assert_eq!(answer.json(), json!({ "flavour": flavour }), "{answer:?}");
                answer
            }
        })
        .await;
        for answer in answers {
            let via = answer.header("cache-status").to_owned();
            assert!(via.starts_with("weir; fwd=miss; detail="), "{via}");
        }
        assert_eq!(runs(&client, "flavour").await, (round * CLIENTS) as f64);
    }
    let plain = ask(&client, "flavour", &json!({})).await;
    assert_eq!(plain.json(), json!({ "flavour": null }));
}

#[tokio::test]
async fn an_answer_made_from_the_method_is_neither_kept_nor_shared() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "method", "reads-method", &[]);
    })
    .await;
    let client = &server.client;
    for _ in 0..2 {
        for method in ["POST", "QUERY", "GET"] {
            let answer = send(client, method, "method", "{}", &[]).await;
            assert_eq!(answer.json(), json!({ "method": method }));
            assert!(answer.header("cache-status").starts_with("weir; fwd=miss; detail="));
        }
    }
    assert_eq!(runs(client, "method").await, 6.0);
}

/// The pipeline embeds many texts, so that the client has time to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_does_not_cancel_the_fill() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "busy", "many-calls", &["embedding"]);
        config.set("pipelines.busy.deadline_ms", 60_000);
    })
    .await;
    let client = &server.client;
    let texts: Vec<_> = (0..200).map(|number| format!("text number {number}")).collect();
    let body = json!({ "texts": texts });
    let connection = begin(&server, "busy", &body).await;
    eventually("the pipeline has begun", async || {
        (client.metric("weir_host_calls_total", &[("call", "embed")]).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(runs(client, "busy").await, 0.0, "the run has not ended");
    drop(connection);

    eventually("the answer is kept", async || {
        let answer = ask(client, "busy", &body).await;
        answer.assert_status(200);
        assert_eq!(answer.json(), json!({ "embedded": 200 }));
        answer.header("cache-status").starts_with(HIT).then_some(())
    })
    .await;
    assert_hit(&ask(client, "busy", &body).await);
    assert_eq!(runs(client, "busy").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_all_clients_have_left_leave_slots_to_others() {
    let server = Server::with(|config| {
        config.search();
        under_default(config, "slow", "slow-reader", &["read", "logging"]);
        config
            .set("pipelines.slow.deadline_ms", 3_600_000)
            // Of which one pipeline gets half.
            .set("engine.max_concurrent_guests", 16)
            .set("engine.queue_timeout_ms", 20_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    moor(client, "a").await;
    for number in 1..=12 {
        let endless =
            json!({ "collection": "docs", "text": "harbour", "work": u64::MAX, "number": number });
        let connection = begin(&server, "slow", &endless).await;
        searched(&server, number).await;
        drop(connection);
    }
    let answer = ask(client, "slow", &json!({ "collection": "docs", "text": "harbour" })).await;
    assert_eq!(answer.json(), json!({ "ids": ["a"] }));
}
