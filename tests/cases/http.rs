//! HTTP itself: what every answer contains, and the limits of a connection.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Config, Raw, Server, eventually, plugin};

const ECHO: &str = "/v1/pipelines/echo";
const LARGE_BYTES: usize = 3 << 20;

async fn server() -> Server {
    with(|_| {}).await
}

/// A server that hosts `echo`, with what `configure` adds.
async fn with(configure: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
        configure(config);
    })
    .await
}

/// Answers from every kind of route: from a pipeline, from the host, and problems.
async fn answers(client: &Client) -> Vec<Answer> {
    vec![
        client.post(ECHO, &json!({ "a": 1 })).await,
        client.get("/v1/pipelines").await,
        client.put("/v1/collections/docs").await,
        client.get("/metrics").await,
        client.get("/v1/collections/other").await,
        client.get("/nowhere").await,
        client.delete(ECHO).await,
        client.post(ECHO, &Value::Null).await,
    ]
}

#[tokio::test]
async fn every_answer_has_an_id_and_a_time() {
    let server = server().await;
    let answers = answers(&server.client).await;
    for answer in &answers {
        assert!(is_seconds(answer.header("x-response-time")), "{answer:?}");
        let timing = answer.header("server-timing");
        let total = timing.split(", ").find_map(|metric| metric.strip_prefix("total;dur="));
        assert!(total.is_some_and(|dur| dur.parse::<f64>().is_ok()), "{answer:?}");
        assert!(!answer.header("date").is_empty(), "{answer:?}");
        let is_problem = answer.header("content-type") == "application/problem+json";
        assert_eq!(is_problem, answer.status >= 400, "{answer:?}");
    }
    let mut ids: Vec<_> = answers.iter().map(|answer| answer.header("x-request-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), answers.len(), "{ids:?}");
}

/// Whether `text` is like `0.012s`: digits, three decimals, and the unit.
fn is_seconds(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_suffix('s')
        .and_then(|number| number.split_once('.'))
        .is_some_and(|(whole, decimals)| digits(whole) && digits(decimals) && decimals.len() == 3)
}

#[tokio::test]
async fn a_clients_request_id_is_kept() {
    let server = server().await;
    let longest = "i".repeat(64);
    let too_long = "i".repeat(65);
    for (id, kept) in [
        ("a-1_B.c", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("a b", false),
        ("a\"b", false),
        ("", false),
    ] {
        for path in ["/v1/pipelines", "/nowhere", "/v1/pipelines/other"] {
            let answer = Answer::to(server.client.request("GET", path).header("x-request-id", id));
            let answer = answer.await;
            assert_eq!(answer.header("x-request-id") == id, kept, "{id:?}");
            assert!(!answer.header("x-request-id").is_empty());
        }
    }
}

#[tokio::test]
async fn http_1_and_2_give_the_same_answers() {
    let server = server().await;
    let http2 = Client::http2(server.address);
    server.client.put("/v1/collections/docs").await.assert_status(201);
    for (one, two) in answers(&server.client).await.iter().zip(answers(&http2).await) {
        assert_eq!(one.status, two.status);
        if one.header("content-type") == "application/json" {
            assert_eq!(one.body, two.body);
        }
    }
    // Many at once on one connection.
    let ask = |n: usize| {
        let http2 = http2.clone();
        async move { http2.post(ECHO, &json!({ "n": n })).await }
    };
    for (n, answer) in join_all((0..500).map(ask)).await.into_iter().enumerate() {
        assert_eq!(answer.text(), format!("{{\"n\":{n}}}"));
    }
    let connections = server.client.metric("weir_http_connections", &[]).await;
    assert!((1.0..=3.0).contains(&connections), "{connections}");
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let server = server().await;
    let mut raw = Raw::connect(server.address).await;
    let posts: String = (0..20)
        .map(|n| {
            format!(
                "POST {ECHO} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
                 content-length: 10\r\n\r\n{{\"n\":{:>4}}}",
                100 + n
            )
        })
        .collect();
    raw.send(posts + "HEAD /health/liveness HTTP/1.1\r\nhost: weir\r\n\r\n").await;
    for n in 0..20 {
        let (head, body) = raw.answer().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(String::from_utf8(body).unwrap(), format!("{{\"n\":{}}}", 100 + n));
    }
    // An answer to HEAD has only a head: what follows belongs to the next answer.
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: "), "{head}");
    raw.send(format!("HEAD {ECHO}?json=%7B%7D HTTP/1.1\r\nhost: weir\r\n\r\n")).await;
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 200") && head.contains("etag: "), "{head}");
    raw.send("GET /health/liveness HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("http/1.1 200") && !body.is_empty(), "{head}");
    assert!(raw.closed().await.is_empty());
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let server = with(|config| {
        config.set("server.header_timeout_ms", 400).set("server.idle_timeout_ms", 1_200);
    })
    .await;
    let started = Instant::now();
    let never_speaks = async {
        let mut raw = Raw::connect(server.address).await;
        assert!(raw.closed().await.is_empty());
        assert!(started.elapsed() >= Duration::from_millis(1_200), "{:?}", started.elapsed());
    };
    let stops_within_a_head = async {
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET / HTTP/1.1\r\nhost: w").await;
        raw.closed().await;
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
    };
    let drips = async {
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET / HTTP/1.1\r\n").await;
        // Sending byte after byte does not extend the time for the head.
        eventually("the connection is closed", async || raw.try_send(b"a").await.err()).await;
    };
    let idles = async {
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET /health/liveness HTTP/1.1\r\nhost: weir\r\n\r\n").await;
        raw.answer().await;
        let answered = Instant::now();
        assert!(raw.closed().await.is_empty());
        assert!(answered.elapsed() >= Duration::from_millis(1_000), "{:?}", answered.elapsed());
    };
    futures::join!(never_speaks, stops_within_a_head, drips, idles);
    server.client.get("/health/liveness").await.assert_status(200);
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let server = with(|config| {
        config.set("server.body_timeout_ms", 300);
    })
    .await;
    let mut raw = Raw::connect(server.address).await;
    raw.send(head(100, "")).await;
    raw.send("{\"a\"").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "body-timeout");
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let mut server = with(|config| {
        config.set("server.max_connections", 2);
    })
    .await;
    // Of different clients, because one client does not get all; and not of the one that asked whether the
    // server is ready, whose connection may still be closing.
    let mut one = Raw::connect_from(2, server.address).await;
    let two = Raw::connect_from(3, server.address).await;
    let mut three = Raw::connect_from(4, server.address).await;
    let liveness = "GET /health/liveness HTTP/1.1\r\nhost: weir\r\n\r\n";
    three.send(liveness).await;
    eventually("two connections are open and a third waits", async || {
        one.send("GET /metrics HTTP/1.1\r\nhost: weir\r\n\r\n").await;
        let metrics = String::from_utf8(one.answer().await.1).unwrap();
        let open = metrics.contains("weir_http_connections 2\n");
        (open && !metrics.contains("weir_http_connections_waited_total 0\n")).then_some(())
    })
    .await;
    drop(two);
    let (head, _) = three.answer().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    server.sigterm();
    assert!(server.wait().await.success());
}

/// The head of a POST to `echo` with a body of `length` bytes.
fn head(length: usize, more: &str) -> String {
    format!(
        "POST {ECHO} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_head_that_is_too_large_or_malformed_is_refused() {
    let server = server().await;
    let mut raw = Raw::connect(server.address).await;
    let padding = "a".repeat(20_000);
    raw.send(format!("GET / HTTP/1.1\r\nhost: weir\r\nx-padding: {padding}\r\n\r\n")).await;
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
    raw.closed().await;
    for nonsense in
        ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\na b: c\r\n\r\n"]
    {
        let mut raw = Raw::connect(server.address).await;
        raw.send(nonsense).await;
        let head = raw.head().await;
        assert!(head.starts_with("http/1.1 400"), "{nonsense}: {head}");
        raw.closed().await;
    }
    server.client.get("/health/liveness").await.assert_status(200);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_all_of_its_body_first() {
    let server = server().await;
    let large = vec![b' '; LARGE_BYTES];
    let mut chunked = format!("{LARGE_BYTES:x}\r\n").into_bytes();
    chunked.extend_from_slice(&large);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let post = |path: &str, kind: &str, length: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: {kind}\r\n{length}\r\n\r\n")
    };
    let length = format!("content-length: {LARGE_BYTES}");
    let (json, chunks) = ("application/json", "transfer-encoding: chunked");
    for (request, body, status, code) in [
        (post(ECHO, json, &length), &large, 413, "too-large"),
        (post(ECHO, json, chunks), &chunked, 413, "too-large"),
        (post(ECHO, "text/plain", &length), &large, 415, "unsupported-media-type"),
        (post("/v1/embeddings", json, &length), &large, 413, "too-large"),
        (post("/v1/embeddings", json, chunks), &chunked, 413, "too-large"),
        (post("/v1/pipelines/other", json, &length), &large, 404, "unknown-pipeline"),
        (post("/nowhere", json, &length), &large, 404, "not-found"),
        (post("/v1/pipelines", json, &length), &large, 405, "method-not-allowed"),
        (post("/v1/collections/A/documents", json, chunks), &chunked, 400, "invalid-name"),
    ] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(&request).await;
        raw.send(body).await;
        let (head, body) = raw.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}{head}");
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], code, "{request}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_refused_before_it_sends_its_body() {
    let server = server().await;
    let mut raw = Raw::connect(server.address).await;
    raw.send(head(LARGE_BYTES, "expect: 100-continue\r\n")).await;
    let (refusal, _) = raw.answer().await;
    assert!(refusal.starts_with("http/1.1 413"), "{refusal}");

    let mut raw = Raw::connect(server.address).await;
    raw.send(head(2, "expect: 100-continue\r\n")).await;
    let go_on = raw.head().await;
    assert!(go_on.starts_with("http/1.1 100"), "{go_on}");
    raw.send("{}").await;
    let (answer, body) = raw.answer().await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert_eq!(body, b"{}");
}

#[tokio::test]
async fn liveness_readiness_and_metrics() {
    let server = server().await;
    let client = &server.client;
    assert_eq!(client.get("/health/liveness").await.json(), json!({ "status": "live" }));
    client.put("/v1/collections/docs").await.assert_status(201);
    let health = client.get("/health/readiness").await;
    health.assert_status(200);
    let health = health.json();
    assert_eq!((&health["ready"], &health["draining"]), (&json!(true), &json!(false)));
    assert_eq!(health["truth"], json!({ "open": true, "writable": true, "position": 1 }));
    assert_eq!(
        health["derived"],
        json!({ "healthy": true, "position": 1, "lag": 0, "lagging": [] })
    );
    let of = |status| [("route", "other"), ("status", status)];
    let before = client.metric("weir_http_requests_total", &of("4xx")).await;
    client.get("/nowhere").await.assert_status(404);
    assert_eq!(client.metric("weir_http_requests_total", &of("4xx")).await, before + 1.0);
    let metrics = client.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(metrics.text().contains("# HELP weir_http_requests_total"));
    let listed = client.get("/v1/pipelines").await;
    assert_eq!(listed.json(), json!({ "pipelines": ["echo"] }));
}
