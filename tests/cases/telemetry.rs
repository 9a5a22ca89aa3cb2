//! What an operator is shown of requests: lines of the log, and metrics.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::asking::{
    COLLAPSED, STORED, ask, ask_with, assert_hit, assert_via, missed, searched,
    server_with_slow_reader, under_default,
};
use crate::harness::{Answer, Client, Server, eventually, guest, plugin};

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

const LATENCIES: &str = "weir_pipeline_request_duration_seconds";

/// How many requests to `pipeline` have ended like this.
async fn ended(client: &Client, pipeline: &str, outcome: &str) -> f64 {
    let labels = [("pipeline", pipeline), ("outcome", outcome)];
    client.metric(&format!("{LATENCIES}_count"), &labels).await
}

/// What has ended with each outcome that has occurred.
async fn all_ended(client: &Client, pipeline: &str) -> Vec<(&'static str, f64)> {
    let mut all = Vec::new();
    for outcome in ["hit", "collapsed", "miss", "bypass", "refused", "failed", "abandoned"] {
        let count = ended(client, pipeline, outcome).await;
        all.extend((count > 0.0).then_some((outcome, count)));
    }
    all
}

#[tokio::test]
async fn latencies_are_of_one_pipeline_and_outcome() {
    let server = Server::with(|config| {
        config.search();
        for name in ["asked", "other"] {
            config
                .pipeline(name, &plugin("echo"), &[])
                .set(&format!("pipelines.{name}.policy"), "default");
        }
        config.pipeline("uncached", &plugin("echo"), &[]).pipeline("trap", &guest("trap"), &[]);
    })
    .await;
    let client = &server.client;
    for question in [1, 1, 2, 1] {
        ask(client, "asked", &json!(question)).await.assert_status(200);
    }
    ask(client, "uncached", &json!(1)).await.assert_status(200);
    ask(client, "trap", &json!(1)).await.assert_problem(500, "pipeline-trapped");
    // It is refused before its pipeline is asked.
    let unread = client.post_bytes("/v1/pipelines/other", "application/json", "{").await;
    unread.assert_problem(400, "invalid-json");
    for (pipeline, expected) in [
        ("asked", &[("hit", 2.0), ("miss", 2.0)][..]),
        ("other", &[]),
        ("uncached", &[("bypass", 1.0)]),
        ("trap", &[("failed", 1.0)]),
    ] {
        assert_eq!(all_ended(client, pipeline).await, expected, "{pipeline}");
    }
    for outcome in ["hit", "miss"] {
        let labels = [("pipeline", "asked"), ("outcome", outcome)];
        let sum = client.metric(&format!("{LATENCIES}_sum"), &labels).await;
        let quantile = async |share: &str| {
            let [pipeline, outcome] = labels;
            client.metric(LATENCIES, &[pipeline, outcome, ("quantile", share)]).await
        };
        let (p50, p999) = (quantile("0.5").await, quantile("0.999").await);
        assert!(0.0 < p50 && p50 <= p999, "{outcome}: {p50} {p999}");
        // Of two requests, these are the two. Each is within 1.6 %.
        assert!(((p50 + p999) / sum - 1.0).abs() < 0.02, "{outcome}: {p50} + {p999} is not {sum}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_share_a_run_and_requests_whose_client_leaves_are_told_apart() {
    let server = server_with_slow_reader().await;
    let client = &server.client;
    client.create("docs").await;
    let asked = async |client: Client| {
        ask(&client, "slow", &slow_question("one", 400_000)).await.assert_status(200);
    };
    let leader = tokio::spawn(asked(client.clone()));
    searched(&server, 1).await;
    let follower = tokio::spawn(asked(client.clone()));
    let leaves = tokio::spawn(asked(client.clone()));
    missed(client, "slow", 3).await;
    leaves.abort();
    eventually("one request is abandoned", async || {
        (ended(client, "slow", "abandoned").await == 1.0).then_some(())
    })
    .await;
    leader.await.unwrap();
    follower.await.unwrap();
    let expected = [("collapsed", 1.0), ("miss", 1.0), ("abandoned", 1.0)];
    assert_eq!(all_ended(client, "slow").await, expected);
}

#[tokio::test]
async fn requests_that_find_no_slot_are_refused() {
    let server = Server::with(|config| {
        config
            .pipeline("loop", &guest("loop-forever"), &[])
            .set("pipelines.loop.deadline_ms", 3_600_000)
            .set("engine.max_concurrent_guests", 1)
            .set("engine.queue_timeout_ms", 1);
    })
    .await;
    let client = &server.client;
    let ask_one = |client: Client| async move { ask(&client, "loop", &json!(1)).await };
    let mut asked: Vec<_> = (0..2).map(|_| tokio::spawn(ask_one(client.clone()))).collect();
    let refused = eventually("one of them is refused", async || {
        asked.iter().position(JoinHandle::is_finished)
    })
    .await;
    asked.swap_remove(refused).await.unwrap().assert_problem(503, "overloaded");
    assert_eq!(all_ended(client, "loop").await, [("refused", 1.0)]);
    asked[0].abort();
    eventually("the other one is abandoned", async || {
        (ended(client, "loop", "abandoned").await == 1.0).then_some(())
    })
    .await;
}

/// The series that `/metrics` has, without their values.
async fn series(client: &Client) -> BTreeSet<String> {
    let text = client.get("/metrics").await.text();
    let series = |line: &str| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
    text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect()
}

#[tokio::test]
async fn pipelines_that_do_not_exist_have_no_metrics() {
    let server = Server::start().await;
    let client = &server.client;
    let before = series(client).await;
    for number in 0..1_000 {
        let path = format!("/v1/pipelines/unknown-{number}");
        client.post(&path, &json!({})).await.assert_problem(404, "unknown-pipeline");
    }
    assert_eq!(series(client).await, before);
    let labels = [("route", "pipeline"), ("status", "4xx")];
    assert_eq!(client.metric("weir_http_requests_total", &labels).await, 1_000.0);
}

#[tokio::test]
async fn every_metric_is_documented() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/telemetry.md");
    let document = std::fs::read_to_string(document).unwrap();
    let server = Server::with(|config| {
        config.search();
        under_default(config, "slow", "slow-reader", &["read", "logging"]);
        config
            .set("tenants.acme.hosts", vec!["weir"])
            .set("tenants.acme.quota.max_requests_per_second", 1_000)
            .set("tenants.acme.quota.max_concurrent_requests", 1_000);
    })
    .await;
    let client = &server.client;
    let of_acme = async |method: &str, path: &str, body: &Value| {
        let request = client.request(method, path).header("host", "weir");
        let request = request.header("content-type", "application/json");
        Answer::to(request.body(body.to_string())).await
    };
    of_acme("PUT", "/v1/collections/docs", &Value::Null).await.assert_status(201);
    let question = slow_question("one", 0);
    of_acme("POST", "/v1/pipelines/slow", &question).await.assert_status(200);
    let text = client.get("/metrics").await.text();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.len() > 5 && text.contains("weir_tenant_"), "{text}");
    for line in names {
        let (name, _) = line.split_once(' ').unwrap();
        assert!(document.contains(&format!("| `{name}` |")), "{name} is not in docs/telemetry.md");
    }
}
