//! Rapid reset: HTTP/2 streams that are opened and reset at once, thousands on a connection. They cost
//! the client two frames, count as closed, and make the server begin.

use futures::future::join_all;
use serde_json::json;

use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Client, Raw, Server, document, eventually};

const CONNECTIONS: u32 = 4;
/// Of each connection.
const STREAMS: u32 = 2_000;

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE_REQUEST: u8 = 0x5;
const CANCEL: u32 = 0x8;
const ENHANCE_YOUR_CALM: u32 = 0xb;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a question that nobody has asked before, without compression.
fn question(number: u32) -> Vec<u8> {
    let path = format!("/v1/pipelines/search?json=%7B%22query%22%3A%22boats%20{number}%22%7D");
    let literal = |index: u8, value: &str| {
        assert!(value.len() < 127);
        [&[index, value.len() as u8], value.as_bytes()].concat()
    };
    // Of the static table: GET, http, and the names of the path and the authority.
    [vec![0x82, 0x86], literal(0x04, &path), literal(0x01, "weir")].concat()
}

/// Everything that a connection sends.
fn attack(connection: u32) -> Vec<u8> {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..STREAMS {
        let stream = 2 * number + 1;
        sent.extend(frame(
            HEADERS,
            WHOLE_REQUEST,
            stream,
            &question(connection * STREAMS + number),
        ));
        sent.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    sent
}

/// The payloads of the complete frames of this kind.
fn payloads(mut received: &[u8], kind: u8) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [a, b, c, its_kind, _flags, _, _, _, _, rest @ ..] = received {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if *its_kind == kind {
            found.push(payload);
        }
        received = rest;
    }
    found
}

/// Attacks until the server ends the connection for it.
async fn attacker(server: &Server, connection: u32) {
    let mut raw = Raw::connect_from(ATTACKER, server.address).await;
    // The server may close the connection before it has read everything.
    let _ = raw.try_send(&attack(connection)).await;
    let received = raw.closed().await;
    let last = payloads(&received, GOAWAY).last().map(|payload| payload[4..8].to_vec());
    assert_eq!(last, Some(ENHANCE_YOUR_CALM.to_be_bytes().to_vec()), "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let server = Server::with(|config| {
        // What has been begun is not what ends the neighbour's requests, on a slow machine either.
        config.search().set("engine.queue_timeout_ms", 60_000);
        config.set("pipelines.search.deadline_ms", 60_000);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let attackers = (0..CONNECTIONS).map(|connection| attacker(&server, connection));
    let mut asked = 0;
    let honest = async || {
        asked += 1;
        let question = json!({ "query": format!("a new question about boats {asked}") });
        assert_eq!(client.search(&question).await.ids(), ["a"]);
        client.get("/health/liveness").await.assert_status(200);
    };
    while_attacked(join_all(attackers), honest).await;
    connections_are_back(client).await;
    // What was begun ends, so every slot is free again.
    let question = json!({ "query": "boats again" });
    assert_eq!(client.search(&question).await.ids(), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_it_waits_for_its_next_connection() {
    let server = Server::with(|config| {
        // Two in a second do not wait, and after a hundred the next does.
        config.search().set("server.max_client_connections_per_second", 10);
    })
    .await;
    let client = &Client::keeping_one(server.address);
    let delayed = async || client.metric("weir_connections_delayed_total", &[]).await;
    attacker(&server, 0).await;
    connections_are_back(client).await;
    // Also that of whoever waited for the server to start.
    let before = delayed().await;
    let _next = Raw::connect_from(ATTACKER, server.address).await;
    eventually("its next connection waits", async || (delayed().await > before).then_some(()))
        .await;
}
