//! Explanations are true: what one says is what the same request then gets.

use serde_json::{Value, json};

use crate::cases::asking::{ask_with, under_default};
use crate::harness::{Answer, Config, Server, document};

/// How many requests are explained and then sent.
const STATES: u64 = 1_000;

/// A generator of numbers that are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn configure(config: &mut Config) {
    config.search().set("cache.shared.backend", "disk");
    config.set(
        "pipelines.search.client_cache_control",
        vec!["no-cache", "max-age", "no-store", "only-if-cached"],
    );
    under_default(config, "trap", "trap", &[]);
    under_default(config, "header", "reads-header", &[]);
    config.pipeline("bypass", &crate::harness::plugin("echo"), &[]);
    config
        .set("policies.default.settings.failure_ttl_ms", 86_400_000)
        .set("policies.default.settings.ttl_ms", 86_400_000);
}

/// What an answer was, in the words of an explanation.
fn outcome(answer: &Answer) -> &'static str {
    let status = answer.headers.get("cache-status").map(|value| value.to_str().unwrap());
    match status {
        Some(status) if status.contains("detail=failure") => "kept-failure",
        Some(status) if status.contains("detail=shared") => "shared-hit",
        Some(status) if status.contains("detail=stale") => "stale",
        Some(status) if status.starts_with("weir; hit") => "hit",
        Some(status) if status.starts_with("weir; fwd=bypass") => "bypass",
        Some("weir; fwd=miss; detail=no-store" | "weir; fwd=miss; detail=uncacheable") => {
            "run-alone"
        }
        _ if answer.text().contains("not-cached") => "not-cached",
        _ => "run",
    }
}

async fn change(server: &mut Server, numbers: &mut Numbers) {
    let client = &server.client;
    let collection = numbers.one_of(&["docs", "more"]);
    match numbers.below(24) {
        0..4 => {
            let id = format!("d{}", numbers.below(3));
            let text = format!("Flour number {}.", numbers.below(1_000));
            client.ingest(collection, &[document(&id, &text)]).await;
        }
        4..9 => {
            let what = match numbers.below(5) {
                0 => json!("everything"),
                1 => json!({ "collection": collection }),
                2 => json!({ "tag": format!("collection:{collection}") }),
                3 => json!({ "pipeline": numbers.one_of(&["search", "trap"]) }),
                _ => {
                    json!({ "prefix": { "pipeline": "search", "parts": [body(numbers).to_string()] } })
                }
            };
            server
                .administer("cache/invalidate", &json!({ "what": what }))
                .await
                .assert_status(200);
        }
        _ => {}
    }
}

/// A body in its canonical form.
fn body(numbers: &mut Numbers) -> Value {
    let collection = numbers.one_of(&["docs", "more"]);
    let query = numbers.one_of(&["flour", "number"]);
    json!({ "collection": collection, "mode": "keyword", "query": query })
}

/// A request, and a header that goes with it.
fn request(numbers: &mut Numbers) -> (&'static str, Value, (&'static str, &'static str)) {
    let pipeline =
        numbers.one_of(&["search", "search", "search", "search", "trap", "header", "bypass"]);
    let body = body(numbers);
    let header = numbers.one_of(&[
        ("x-none", "0"),
        ("x-none", "0"),
        ("x-none", "0"),
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("cache-control", "only-if-cached"),
        ("cache-control", "max-age=0"),
    ]);
    (pipeline, body, header)
}

async fn explained(server: &Server, pipeline: &str, body: &Value, header: (&str, &str)) -> Value {
    let (name, value) = header;
    let described = json!({ "pipeline": pipeline, "body": body, "headers": { name: value } });
    let answer = server.administer("cache/explain", &described).await;
    answer.assert_status(200);
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_explained_is_what_the_request_gets() {
    let mut server = Server::with(configure).await;
    for collection in ["docs", "more"] {
        server.client.create(collection).await;
    }
    let mut numbers = Numbers(1);
    let mut seen = std::collections::BTreeMap::<String, u64>::new();
    for state in 0..STATES {
        if state % 250 == 249 {
            server.sigterm();
            server.wait().await;
            server = server.restart().await;
        }
        change(&mut server, &mut numbers).await;
        let (pipeline, body, header) = request(&mut numbers);
        let explanation = explained(&server, pipeline, &body, header).await;
        let again = explained(&server, pipeline, &body, header).await;
        assert_eq!(again["outcome"], explanation["outcome"], "explaining changes nothing");
        let answer = ask_with(&server.client, pipeline, &body, header).await;
        let expected = explanation["outcome"].as_str().unwrap();
        let about =
            format!("state {state}: {pipeline} {body} {header:?}: {explanation:#}\n{answer:?}");
        assert_eq!(outcome(&answer), expected, "{about}");
        *seen.entry(expected.to_owned()).or_default() += 1;
    }
    for outcome in ["hit", "shared-hit", "run", "run-alone", "kept-failure", "not-cached", "bypass"]
    {
        let count = seen.get(outcome).copied().unwrap_or(0);
        assert!(count > 0, "{outcome} was never seen: {seen:?}");
    }
}
