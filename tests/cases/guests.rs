//! Guests that misbehave: each fails its own request with a code, and harms nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::asking::{STORED, ask, assert_hit, assert_via, missed, runs, under_default};
use crate::harness::{Answer, Client, Config, Server, document, eventually, guest, plugin};

/// Hosts each guest under its own name, without a policy and with every grant that it can use.
fn hostile(config: &mut Config, guests: &[&str]) {
    for name in guests {
        let grants: &[&str] = match *name {
            "huge-hits" | "bad-members" => &["read"],
            "many-calls" => &["embedding"],
            "bad-json" => &["settings"],
            _ => &[],
        };
        config.pipeline(name, &guest(name), grants);
    }
    config.pipeline("echo", &plugin("echo"), &[]);
}

/// Asserts that another pipeline answers and that the server is alive.
async fn assert_unharmed(client: &Client) {
    let request = json!({ "still": "there" });
    assert_eq!(ask(client, "echo", &request).await.json(), request);
    client.get("/health/liveness").await.assert_status(200);
    client.get("/health/readiness").await.assert_status(200);
}

/// How each ends.
const ENDS: [(&str, u16, &str); 4] = [
    ("loop-forever", 504, "deadline-exceeded"),
    ("allocate-forever", 507, "memory-exceeded"),
    ("recurse", 500, "stack-overflow"),
    ("trap", 500, "pipeline-trapped"),
];

#[tokio::test]
async fn each_ends_its_own_request() {
    let server = Server::with(|config| {
        hostile(config, &ENDS.map(|(name, _, _)| name));
        config.set("pipelines.loop-forever.deadline_ms", 100);
    })
    .await;
    let client = &server.client;
    for (name, status, code) in ENDS {
        let answer = ask(client, name, &json!({})).await;
        answer.assert_problem(status, code);
        assert_eq!(answer.header("cache-status"), "", "{name}");
        assert_unharmed(client).await;
    }
    let ended: BTreeMap<_, _> = ENDS
        .iter()
        .zip(["deadline-exceeded", "memory-exceeded", "stack-overflow", "trapped"])
        .map(|((name, _, _), outcome)| (name, outcome))
        .collect();
    for (pipeline, outcome) in ended {
        let labels = [("pipeline", *pipeline), ("outcome", outcome)];
        assert_eq!(client.metric("weir_pipeline_runs_total", &labels).await, 1.0, "{pipeline}");
    }
}

/// There are only four slots, so this passes only if every guest that ends releases its slot, its
/// memory and its stack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_of_each_leave_every_slot_free() {
    const PLACES: usize = 4;
    let server = Server::with(|config| {
        hostile(config, &ENDS.map(|(name, _, _)| name));
        config
            .set("engine.max_concurrent_guests", PLACES as i64)
            .set("engine.queue_timeout_ms", 60_000)
            .set("pipelines.loop-forever.deadline_ms", 50)
            // Without release, these guests would need more memory than the machine has.
            .set("pipelines.allocate-forever.deadline_ms", 60_000);
    })
    .await;
    let client = &server.client;
    for (name, status, code) in ENDS {
        let asked = (0..100).map(|_| async move {
            ask(client, name, &json!({})).await.assert_problem(status, code);
        });
        stream::iter(asked).buffer_unordered(PLACES).collect::<Vec<_>>().await;
        assert_eq!(runs(client, name).await, 100.0);
        assert_unharmed(client).await;
    }
    let echoed = (0..100).map(|number| async move {
        assert_eq!(ask(client, "echo", &json!(number)).await.json(), json!(number));
    });
    stream::iter(echoed).buffer_unordered(PLACES).collect::<Vec<_>>().await;
}

/// Requests to `loop-forever`, each with its own key.
struct Looping(Vec<JoinHandle<Answer>>);

impl Looping {
    fn begin(client: &Client, count: usize) -> Self {
        Self::begin_each(client, &[("loop-forever", count)])
    }

    /// The same for several names under which the guest is hosted.
    fn begin_each(client: &Client, counts: &[(&'static str, usize)]) -> Self {
        let ask_one = |name: &'static str, number: usize| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, name, &json!(number)).await })
        };
        let of_name = |(name, count): &(&'static str, usize)| {
            let name = *name;
            (0..*count).map(move |number| ask_one(name, number))
        };
        Self(counts.iter().flat_map(of_name).collect())
    }

    #[track_caller]
    fn assert_none_has_ended(&self) {
        assert!(self.0.iter().all(|one| !one.is_finished()), "a guest's deadline passed first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_on_every_thread_delay_neither_hits_nor_other_guests() {
    const LOOPING: usize = 8;
    let server = Server::with(|config| {
        config.search();
        config.set("engine.guest_threads", 2);
        hostile(config, &[]);
        under_default(config, "loop-forever", "loop-forever", &[]);
        config.set("pipelines.loop-forever.deadline_ms", 12_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("bread", "Bread is baked from flour.")]).await;
    let question = json!({ "query": "flour" });
    assert_via(&client.search(&question).await, STORED);

    let looping = Looping::begin(client, LOOPING);
    missed(client, "loop-forever", LOOPING).await;
    assert_hit(&client.search(&question).await);
    client.get("/health/liveness").await.assert_status(200);
    client.get("/health/readiness").await.assert_status(200);
    client.get("/v1/collections/docs/documents/bread").await.assert_status(200);
    looping.assert_none_has_ended();
    // Other guests take turns with them on the threads.
    assert_unharmed(client).await;
    assert_eq!(client.search(&json!({ "query": "what is bread?" })).await.ids(), ["bread"]);
    client.ingest("docs", &[document("mill", "A mill grinds flour.")]).await;
    assert_eq!(client.search(&question).await.ids().len(), 2);
    looping.assert_none_has_ended();

    for one in looping.0 {
        one.await.unwrap().assert_problem(504, "deadline-exceeded");
    }
    assert_unharmed(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_free_slot_a_request_is_refused_but_a_hit_is_served() {
    const PLACES: usize = 3;
    let server = Server::with(|config| {
        config
            .search()
            .set("engine.max_concurrent_guests", PLACES as i64)
            .set("engine.queue_timeout_ms", 50)
            .set("engine.deadline_ms", 600_000)
            .pipeline("loop-forever", &guest("loop-forever"), &[])
            .pipeline("loops-too", &guest("loop-forever"), &[])
            .pipeline("echo", &plugin("echo"), &[])
            .set("pipelines.echo.policy", "default");
    })
    .await;
    let client = &server.client;
    let kept = json!("kept");
    assert_via(&ask(client, "echo", &kept).await, STORED);

    // One pipeline leaves a slot, and then two others have all.
    let mut looping = Looping::begin(client, PLACES);
    let refused = eventually("one of them is refused", async || {
        looping.0.iter().position(JoinHandle::is_finished)
    })
    .await;
    looping.0.swap_remove(refused).await.unwrap().assert_problem(503, "overloaded");
    assert_eq!(ask(client, "echo", &json!("a slot is left")).await.status, 200);
    looping.0.append(&mut Looping::begin_each(client, &[("loops-too", 1)]).0);
    let mut asked = 0;
    eventually("every place is taken", async || {
        asked += 1;
        (ask(client, "echo", &json!(asked)).await.status == 503).then_some(())
    })
    .await;
    for _ in 0..3 {
        let refused = ask(client, "echo", &json!("new")).await;
        refused.assert_problem(503, "overloaded");
        assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{refused:?}");
        assert_hit(&ask(client, "echo", &kept).await);
    }
    looping.assert_none_has_ended();
    // The guests end when their clients disconnect.
    looping.0.iter().for_each(JoinHandle::abort);
    eventually("a slot is free", async || {
        (ask(client, "echo", &json!("new")).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_waits_for_a_slot_until_its_deadline() {
    let server = Server::with(|config| {
        config
            .pipeline("loop-forever", &guest("loop-forever"), &[])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.max_concurrent_guests", 1)
            .set("engine.queue_timeout_ms", 600_000)
            .set("pipelines.loop-forever.deadline_ms", 600_000)
            .set("pipelines.echo.deadline_ms", 300);
    })
    .await;
    let client = &server.client;
    let looping = Looping::begin(client, 1);
    eventually("the slot is taken", async || {
        let answer = ask(client, "echo", &json!(1)).await;
        (answer.status == 504).then(|| answer.assert_problem(504, "deadline-exceeded"))
    })
    .await;
    looping.0.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_guest_ends_when_its_client_disconnects() {
    let server = Server::with(|config| {
        config
            .pipeline("loop-forever", &guest("loop-forever"), &[])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.max_concurrent_guests", 1)
            .set("engine.queue_timeout_ms", 20_000)
            .set("pipelines.loop-forever.deadline_ms", 600_000);
    })
    .await;
    let client = &server.client;
    let request = client
        .request("POST", "/v1/pipelines/loop-forever")
        .header("content-type", "application/json")
        .timeout(Duration::from_millis(500))
        .body("{}");
    assert!(request.send().await.is_err_and(|error| error.is_timeout()));
    // The only slot is free again, long before the guest's own deadline.
    assert_unharmed(client).await;
}

#[tokio::test]
async fn an_invalid_answer_is_a_server_error() {
    let server = Server::with(|config| hostile(config, &["bad-headers"])).await;
    let client = &server.client;
    let good = ask(client, "bad-headers", &json!({ "name": "x-good", "value": "it is" })).await;
    good.assert_status(200);
    assert_eq!(good.header("x-good"), "it is");
    assert_eq!(good.header("x-content-type-options"), "nosniff");
    assert!(good.header("content-security-policy").starts_with("sandbox;"), "{good:?}");
    let header = |name: &str, value: &str| json!({ "name": name, "value": value });
    for request in [
        header("connection", "close"),
        header("Connection", "close"),
        header("transfer-encoding", "chunked"),
        header("content-length", "1"),
        header("content-encoding", "gzip"),
        header("keep-alive", "timeout=1"),
        header("upgrade", "h2c"),
        header("set-cookie", "a=b"),
        header("etag", "\"mine\""),
        header("age", "1"),
        header("vary", "*"),
        header("cache-control", "public"),
        header("cache-status", "weir; hit"),
        header("weir-position", "9999"),
        header("x-request-id", "mine"),
        header("location", "https://example.com/"),
        header("refresh", "0"),
        header("content-security-policy", "default-src *"),
        json!({ "status": 302 }),
        json!({ "content_type": "text/html" }),
        header("x-response-time", "0.000s"),
        header("access-control-allow-origin", "*"),
        header("proxy-authenticate", "Basic"),
        header("", "no name"),
        header("a b", "a blank in the name"),
        header("a:b", "a colon in the name"),
        header("x-split", "a\r\nset-cookie: b=c"),
        header("x-nul-free", "a\u{7f}b"),
        header("x-big", &"v".repeat(8 << 10)),
        json!({ "status": 42 }),
        json!({ "status": 101 }),
        json!({ "status": 199 }),
        json!({ "status": 600 }),
        json!({ "status": 65_535 }),
        json!({ "content_type": "" }),
        json!({ "content_type": "text/plain\nx-a: b" }),
    ] {
        let answer = ask(client, "bad-headers", &request).await;
        assert_eq!(answer.status, 500, "{request}: {answer:?}");
        answer.assert_problem(500, "invalid-answer");
        for name in ["set-cookie", "x-split", "x-a"] {
            assert_eq!(answer.header(name), "", "{request}");
        }
    }
    assert_unharmed(client).await;
}

#[tokio::test]
async fn members_next_to_the_hits_are_checked() {
    let server = Server::with(|config| hostile(config, &["bad-members"])).await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("bread", "Bread is baked from flour.")]).await;
    let with = async |name: &str, text: &str| {
        let request = json!({ "collection": "docs", "text": "flour", "name": name, "json": text });
        ask(client, "bad-members", &request).await
    };
    let good = with("more", r#" { "b" : 1, "a" : 2 } "#).await;
    good.assert_status(200);
    assert_eq!((good.ids(), &good.json()["more"]), (vec!["bread".into()], &json!({"a":2,"b":1})));
    let escaped = with("a\"b", "1").await;
    assert_eq!(escaped.json()["a\"b"], 1);
    for (name, text) in [
        ("results", "[]"),
        ("more", ""),
        ("more", "no JSON"),
        ("more", "1,\"results\":[]"),
        ("more", "1 2"),
        ("more", r#"{"a":1,"a":2}"#),
        ("more", &"[".repeat(100_000)),
    ] {
        with(name, text).await.assert_problem(500, "invalid-member");
    }
    assert_unharmed(client).await;
}

#[tokio::test]
async fn a_failure_keeps_a_valid_code_and_its_message_is_truncated() {
    let server = Server::with(|config| hostile(config, &["bad-failure"])).await;
    let client = &server.client;
    let failed = async |code: &str, message: &str| -> Value {
        let answer = ask(client, "bad-failure", &json!({ "code": code, "message": message })).await;
        answer.assert_status(500);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.json()
    };
    let longest = "c".repeat(64);
    for (code, answered) in [
        ("out-of-cheese", "out-of-cheese"),
        (longest.as_str(), longest.as_str()),
        ("", "pipeline-failed"),
        ("Not A Code!", "pipeline-failed"),
        ("\"},\"x\":{\"", "pipeline-failed"),
        (&"c".repeat(65), "pipeline-failed"),
    ] {
        assert_eq!(failed(code, "It failed.").await["code"], answered);
    }
    let problem = failed("long", &"ä".repeat(3_000)).await;
    assert_eq!(problem["detail"], "ä".repeat(2_048), "4 KiB, at the end of a character");
    assert_eq!(failed("text", "\u{1b}[31m\"\n").await["detail"], "\u{1b}[31m\"\n");
}

#[tokio::test]
async fn the_size_of_an_answer_is_limited() {
    let server = Server::with(|config| {
        hostile(config, &["huge-answer"]);
        config.set("engine.max_answer_bytes", 1 << 20);
    })
    .await;
    let client = &server.client;
    for (bytes, code) in [
        (json!(1 << 20), None),
        (json!((1 << 20) + 1), Some("answer-too-large")),
        (json!(3 << 20), Some("answer-too-large")),
        (json!(32 << 20), Some("answer-too-large")),
        (json!(null), Some("memory-exceeded")),
    ] {
        let answer = ask(client, "huge-answer", &json!({ "bytes": bytes })).await;
        match code {
            Some(code) => answer.assert_problem(507, code),
            None => {
                answer.assert_status(200);
                assert_eq!(Some(answer.body.len() as u64), bytes.as_u64());
            }
        }
    }
    assert_unharmed(client).await;
}

#[tokio::test]
async fn hits_are_bounded_in_number_and_in_bytes() {
    let server = Server::with(|config| {
        hostile(config, &["huge-hits"]);
        config.set("engine.max_answer_bytes", 10_000);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    let documents: Vec<_> =
        (0..100).map(|n| document(&format!("d{n}"), &format!("Flour of kind {n}."))).collect();
    client.ingest("docs", &documents).await;
    let hits = async |limit: Value| {
        let request = json!({ "collection": "docs", "text": "flour", "limit": limit });
        ask(client, "huge-hits", &request).await
    };
    let few = hits(json!(50)).await;
    few.assert_status(200);
    assert_eq!(few.results().len(), 50);
    hits(json!(1_000)).await.assert_problem(507, "answer-too-large");
    hits(json!(1_001)).await.assert_problem(400, "invalid-query");
    hits(json!(null)).await.assert_problem(400, "invalid-query");
    assert_unharmed(client).await;
}

#[tokio::test]
async fn calls_to_the_host_are_bounded() {
    let server = Server::with(|config| {
        config.set("engine.max_concurrent_host_calls", 2);
        hostile(config, &["many-calls"]);
        config.set("pipelines.many-calls.deadline_ms", 30_000);
    })
    .await;
    let client = &server.client;
    let embed = async |count: usize| {
        let texts: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        ask(client, "many-calls", &json!({ "texts": texts })).await
    };
    let some = embed(100).await;
    some.assert_status(200);
    assert_eq!(some.json(), json!({ "embedded": 100 }));
    // More calls than may be open.
    embed(20_000).await.assert_problem(500, "quota-exceeded");
    assert_unharmed(client).await;
}
