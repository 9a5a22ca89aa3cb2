//! Slowloris: heads and bodies that arrive byte by byte, so that their connections look alive. The
//! attacker opens as many as it can have.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use super::super::asking::ask;
use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Client, Config, Raw, Server, plugin};

const CONNECTIONS: usize = 16;
/// A client gets no more than it leaves, and its neighbour has one, too.
const OF_THE_ATTACKER: usize = CONNECTIONS / 2 - 1;
const HEADER_TIMEOUT: Duration = Duration::from_millis(500);
const BODY_TIMEOUT: Duration = Duration::from_millis(500);
/// In which a body may be slower than its least rate.
const GRACE: Duration = Duration::from_secs(10);

async fn with(configure: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
        config.set("server.max_connections", CONNECTIONS as i64);
        configure(config);
    })
    .await
}

/// Sends `beginning` on each connection and then byte after byte, until the server answers or closes
/// it, at `least` after it began. A neighbour is served meanwhile.
async fn drip(server: &Server, client: &Client, beginning: &str, least: Duration) -> Vec<Raw> {
    let attackers = (0..OF_THE_ATTACKER).map(|_| async {
        let mut raw = Raw::connect_from(ATTACKER, server.address).await;
        let began = Instant::now();
        raw.send(beginning).await;
        raw.drip(b' ').await;
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
        raw
    });
    while_attacked(join_all(attackers), async || assert_served(client).await).await
}

async fn assert_served(client: &Client) {
    let request = json!({ "still": "there" });
    assert_eq!(ask(client, "echo", &request).await.json(), request);
}

async fn assert_refused(attackers: &mut [Raw], reason: &str) {
    for raw in attackers {
        let (head, body) = raw.answer().await;
        let body = String::from_utf8(body).unwrap();
        assert!(head.starts_with("http/1.1 408"), "{head}");
        assert!(body.contains("body-timeout") && body.contains(reason), "{body}");
    }
}

fn head(more: &str) -> String {
    let head = "POST /v1/pipelines/echo HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json";
    format!("{head}\r\n{more}")
}

#[tokio::test]
async fn a_head_that_drips_ends_without_an_answer() {
    let server = with(|config| {
        config.set("server.header_timeout_ms", HEADER_TIMEOUT.as_millis() as i64);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    for mut raw in drip(&server, client, &head("x-slow: "), HEADER_TIMEOUT).await {
        assert!(raw.closed().await.is_empty());
    }
    connections_are_back(client).await;
}

#[tokio::test]
async fn a_body_that_drips_ends_at_its_timeout() {
    let server = with(|config| {
        config.set("server.body_timeout_ms", BODY_TIMEOUT.as_millis() as i64);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    let beginning = head("content-length: 100000\r\n\r\n");
    let mut attackers = drip(&server, client, &beginning, BODY_TIMEOUT).await;
    assert_refused(&mut attackers, "within 0.5 seconds").await;
    // The refusal is not the end if the client goes on: the connection is closed a little later.
    let goes_on = attackers.iter_mut().map(async |raw| {
        raw.drip(b' ').await;
        assert!(raw.closed().await.is_empty());
    });
    while_attacked(join_all(goes_on), async || assert_served(client).await).await;
    connections_are_back(client).await;
}

#[tokio::test]
async fn a_body_below_the_least_rate_ends_before_its_timeout() {
    let server = with(|config| {
        config.set("server.body_timeout_ms", 600_000);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    let beginning = head("content-length: 100000\r\n\r\n");
    let mut attackers = drip(&server, client, &beginning, GRACE).await;
    assert_refused(&mut attackers, "less than 1024 bytes a second").await;
    drop(attackers);
    connections_are_back(client).await;
}
