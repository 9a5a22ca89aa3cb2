//! Two thousand requests at once for one cold key: one run for all of them, also when the client that led
//! them leaves, and one at a time when runs trap.
//!
//! All of them wait for a run that has not ended, so whether one of them had come too late does not depend
//! on time. Crowds of other sizes, and what their answers must contain, are in `coalescing`.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::asking::{
    COLLAPSED, HIT, STORED, ask, begin, missed, runs, searched, server_with_slow_reader,
};
use crate::harness::{Answer, Client, Server, document};

const CROWD: usize = 2_000;
/// How many of them share an HTTP/2 connection: fewer than it may have streams.
const ON_A_CONNECTION: usize = 200;

/// Enough work to be busy while everybody asks.
fn question() -> Value {
    json!({ "collection": "docs", "text": "harbour", "work": 800_000 })
}

/// A server with `slow`, and a document for it.
async fn server() -> Server {
    with_boat(server_with_slow_reader().await).await
}

async fn with_boat(server: Server) -> Server {
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("boat", "A boat lies in the harbour.")]).await;
    server
}

/// Has `count` clients ask `slow` at the same time, `times` times each.
fn crowd(server: &Server, count: usize, times: usize, question: &Value) -> JoinSet<Vec<Answer>> {
    let start = Arc::new(Barrier::new(count));
    let mut crowd = JoinSet::new();
    for first in (0..count).step_by(ON_A_CONNECTION) {
        let client = Client::http2(server.address);
        for _ in first..count.min(first + ON_A_CONNECTION) {
            let (client, start, question) = (client.clone(), Arc::clone(&start), question.clone());
            crowd.spawn(async move {
                start.wait().await;
                let mut answers = Vec::new();
                for _ in 0..times {
                    answers.push(ask(&client, "slow", &question).await);
                }
                answers
            });
        }
    }
    crowd
}

async fn answers(crowd: JoinSet<Vec<Answer>>) -> Vec<Answer> {
    crowd.join_all().await.into_iter().flatten().collect()
}

/// Waits until `count` requests wait for the only run.
async fn all_wait(server: &Server, count: usize) {
    missed(&server.client, "slow", count).await;
    searched(server, 1).await;
    assert_eq!(runs(&server.client, "slow").await, 0.0, "no run has ended");
}

/// How many runs have begun.
fn begun(server: &Server) -> usize {
    server.log().matches(" searched ").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_with_one_cold_question_share_one_run() {
    let server = server().await;
    let crowd = crowd(&server, CROWD, 1, &question());
    all_wait(&server, CROWD).await;
    let answers = answers(crowd).await;
    let via = |via: &str| answers.iter().filter(|one| one.header("cache-status") == via).count();
    assert_eq!((answers.len(), via(STORED), via(COLLAPSED)), (CROWD, 1, CROWD - 1));
    for answer in &answers {
        assert_eq!(answer.json(), json!({ "ids": ["boat"] }));
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.header("etag"), answers[0].header("etag"));
    }
    assert_eq!((runs(&server.client, "slow").await, begun(&server)), (1.0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_does_not_notice_that_the_client_before_it_has_left() {
    let server = server().await;
    let leader = begin(&server, "slow", &question()).await;
    searched(&server, 1).await;
    let crowd = crowd(&server, CROWD, 1, &question());
    all_wait(&server, 1 + CROWD).await;
    drop(leader);
    for answer in answers(crowd).await {
        assert_eq!(answer.header("cache-status"), COLLAPSED, "{answer:?}");
        assert_eq!(answer.json(), json!({ "ids": ["boat"] }));
    }
    assert_eq!((runs(&server.client, "slow").await, begun(&server)), (1.0, 1));
    let after = ask(&server.client, "slow", &question()).await;
    assert!(after.header("cache-status").starts_with(HIT), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_behind_a_run_that_traps_does_not_run_it_again() {
    let server = server().await;
    let mut question = question();
    question["traps"] = true.into();
    let crowd = crowd(&server, CROWD, 1, &question);
    all_wait(&server, CROWD).await;
    for answer in answers(crowd).await {
        answer.assert_problem(500, "pipeline-trapped");
    }
    assert_eq!((runs(&server.client, "slow").await, begun(&server)), (1.0, 1));
}

/// Has a crowd ask for what traps, again as soon as that has failed, so that one leads again and again.
/// Asserts that there is one run at a time.
async fn one_at_a_time(server: &Server, code: &str) {
    const TIMES: usize = 4;
    let question = json!({ "collection": "docs", "text": "harbour", "work": 2_000, "traps": true });
    for answer in answers(crowd(server, ON_A_CONNECTION, TIMES, &question)).await {
        answer.assert_problem(500, code);
    }
    let log = server.log();
    let mut under_way = 0;
    let mut ended = 0;
    for line in log.lines().filter(|line| line.contains("weir::guest")) {
        if line.contains(" searched ") {
            under_way += 1;
            assert_eq!(under_way, 1, "two runs at a time:\n{log}");
        } else if line.contains(" traps ") {
            under_way -= 1;
            ended += 1;
        }
    }
    assert_eq!((under_way, runs(&server.client, "slow").await), (0, f64::from(ended)));
    assert!(ended as usize >= TIMES, "a failure is not kept, but {ended} runs were enough");
    let dropped = server.client.metric("weir_guest_log_lines_dropped_total", &[]).await;
    assert_eq!(dropped, 0.0, "the log has all lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_trap_follow_each_other_one_at_a_time() {
    one_at_a_time(&server().await, "pipeline-trapped").await;
}

mod faults {
    use super::*;
    use crate::cases::asking::slow_reader_in;
    use crate::harness::Program;

    /// Whoever leads gets no answer, and nobody who waits for it gets one either: they lead next.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs a build of its own: cargo xtask soak faults"]
    async fn flights_that_panic_follow_each_other_one_at_a_time() {
        let server = slow_reader_in(Program::Faulty(Some("flight-panics"))).await;
        one_at_a_time(&with_boat(server).await, "internal").await;
    }
}
