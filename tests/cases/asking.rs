//! Helpers that the cases about caching share: asking pipelines, and checking the cache and
//! the counters.

use serde_json::Value;

use crate::harness::{Answer, Client, Config, Server, eventually, guest};

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

/// Asks by any method, with the JSON as it is written: in the URL of GET and HEAD,
/// otherwise in the body.
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

/// How often a pipeline has run, with any result.
pub(super) async fn runs(client: &Client, pipeline: &str) -> f64 {
    client.metric("weir_pipeline_runs_total", &[("pipeline", pipeline)]).await
}

/// Waits until so many requests of a pipeline have looked for an answer in vain: they lead or
/// follow from then on.
pub(super) async fn missed(client: &Client, pipeline: &str, count: usize) {
    let labels = [("pipeline", pipeline), ("outcome", "miss")];
    eventually(&format!("{count} misses of {pipeline}"), async || {
        let misses = client.metric("weir_cache_lookups_total", &labels).await;
        (misses >= count as f64).then_some(())
    })
    .await;
}

/// Answers from the cache, with the ttl that it says is left, in seconds.
#[track_caller]
pub(super) fn assert_hit(answer: &Answer) -> u64 {
    answer.assert_status(200);
    let status = answer.header("cache-status");
    let ttl = status.strip_prefix(HIT).and_then(|ttl| ttl.parse().ok());
    ttl.unwrap_or_else(|| panic!("no hit: {answer:?}"))
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

/// Hosts `search`, and as `slow` the guest that answers what it found before the collection
/// changed.
pub(super) async fn server_with_slow_reader() -> Server {
    Server::with(|config| {
        config.search();
        let grants = ["read", "logging"];
        under_default(config, "slow", "slow-reader", &grants);
        config.set("pipelines.slow.deadline_ms", 120_000);
    })
    .await
}

/// Waits until `slow` has searched so many times for the first time of a run.
pub(super) async fn searched(server: &Server, count: usize) {
    eventually(&format!("{count} runs have searched"), async || {
        (server.log().matches(" searched ").count() >= count).then_some(())
    })
    .await;
}
