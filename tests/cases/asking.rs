//! Helpers for the tests of the cache: they send requests to pipelines, and check how answers were
//! obtained and what was counted.

use serde_json::Value;

use crate::harness::{Answer, Client, Config, Program, Raw, Server, eventually, guest};

pub(super) const HIT: &str = "weir; hit; ttl=";
pub(super) const STORED: &str = "weir; fwd=miss; stored";
pub(super) const COLLAPSED: &str = "weir; fwd=miss; collapsed";
pub(super) const CHANGED: &str = "weir; fwd=miss; detail=changed";

/// Posts `request` to `pipeline`.
pub(super) async fn ask(client: &Client, pipeline: &str, request: &Value) -> Answer {
    client.post(&path(pipeline), request).await
}

/// The same with a header.
pub(super) async fn ask_with(
    client: &Client,
    pipeline: &str,
    request: &Value,
    header: (&str, &str),
) -> Answer {
    send(client, "POST", pipeline, &request.to_string(), &[header]).await
}

/// Sends the JSON unchanged by any method: in the URL for GET and HEAD, otherwise in the body.
pub(super) async fn send(
    client: &Client,
    method: &str,
    pipeline: &str,
    text: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let request = match method {
        "GET" | "HEAD" => {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            client.request(method, &format!("{}?json={encoded}", path(pipeline)))
        }
        _ => client
            .request(method, &path(pipeline))
            .header("content-type", "application/json")
            .body(text.to_owned()),
    };
    Answer::to(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
        .await
}

pub(super) fn path(pipeline: &str) -> String {
    format!("/v1/pipelines/{pipeline}")
}

/// Sends a request, on a connection that can be dropped before the answer.
pub(super) async fn begin(server: &Server, pipeline: &str, body: &Value) -> Raw {
    let (path, body) = (path(pipeline), body.to_string());
    let length = body.len();
    let mut connection = Raw::connect(server.address).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    connection.send(head + &body).await;
    connection
}

/// How often a pipeline has run, with whatever result.
pub(super) async fn runs(client: &Client, pipeline: &str) -> f64 {
    client.metric("weir_pipeline_runs_total", &[("pipeline", pipeline)]).await
}

/// Waits until `count` requests to a pipeline have missed the cache. From then on, each of them
/// leads a run or follows one.
pub(super) async fn missed(client: &Client, pipeline: &str, count: usize) {
    let labels = [("pipeline", pipeline), ("outcome", "miss")];
    eventually(&format!("{count} misses of {pipeline}"), async || {
        let misses = client.metric("weir_cache_lookups_total", &labels).await;
        (misses >= count as f64).then_some(())
    })
    .await;
}

/// Asserts that an answer is a hit, and returns the rest of its ttl in seconds.
#[track_caller]
pub(super) fn assert_hit(answer: &Answer) -> u64 {
    answer.assert_status(200);
    let status = answer.header("cache-status");
    let ttl = status.strip_prefix(HIT).and_then(|ttl| ttl.parse().ok());
    ttl.unwrap_or_else(|| panic!("not a hit: {answer:?}"))
}

/// Asserts how an answer was obtained.
#[track_caller]
pub(super) fn assert_via(answer: &Answer, cache_status: &str) {
    answer.assert_status(200);
    assert_eq!(answer.header("cache-status"), cache_status, "{answer:?}");
}

/// Hosts the guest `component` as `name`, under the policy `default`.
pub(super) fn under_default(config: &mut Config, name: &str, component: &str, grants: &[&str]) {
    config
        .pipeline(name, &guest(component), grants)
        .set(&format!("pipelines.{name}.policy"), "default");
}

/// A server that hosts `search` and, as `slow`, a guest that searches for a while and then answers
/// what it found first.
pub(super) async fn server_with_slow_reader() -> Server {
    slow_reader_in(Program::Shipped).await
}

/// The same with another build of the server.
pub(super) async fn slow_reader_in(program: Program) -> Server {
    Server::running(program, |config| {
        config.search();
        let grants = ["read", "logging"];
        under_default(config, "slow", "slow-reader", &grants);
        config.set("pipelines.slow.deadline_ms", 120_000);
    })
    .await
}

/// Waits until `count` runs of `slow` have made their first search.
pub(super) async fn searched(server: &Server, count: usize) {
    eventually(&format!("{count} runs have searched"), async || {
        (server.log().matches(" searched ").count() >= count).then_some(())
    })
    .await;
}
