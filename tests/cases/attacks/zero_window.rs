//! HTTP/2 clients that ask for large answers and have no window for them, so that the server has to
//! keep them. They answer its pings and send their own, which makes them look alive.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use serde_json::{Value, json};

use super::super::asking::{ask, path};
use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Client, Server, connect_from, eventually, guest, plugin};

/// More than there is memory for.
const STREAMS: usize = 8;
const ANSWER_BYTES: usize = 1 << 20;
/// The memory for answers that are not read, and the largest of them.
const MEMORY_BYTES: usize = 4 << 20;
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// The pace of an attacker.
const PING_EVERY: Duration = Duration::from_millis(20);

async fn server() -> Server {
    Server::with(|config| {
        config
            .pipeline("huge-answer", &guest("huge-answer"), &[])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.queue_timeout_ms", 60_000)
            .set("engine.max_answer_bytes", MEMORY_BYTES as i64)
            .set("server.max_answers_bytes", MEMORY_BYTES as i64)
            .set("server.write_timeout_ms", WRITE_TIMEOUT.as_millis() as i64);
    })
    .await
}

/// Asks for an answer and does not read it. Asserts that none arrives as a whole.
async fn ask_and_do_not_read(sender: SendRequest<Bytes>) {
    let request = http::Request::post(format!("http://weir{}", path("huge-answer")))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let mut sender = sender.ready().await.unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(json!({ "bytes": ANSWER_BYTES }).to_string().into(), true).unwrap();
    // It waits for memory until the connection is closed, or has its head sent.
    let Ok(answer) = answer.await else { return };
    let piece = answer.into_body().data().await;
    assert!(piece.as_ref().is_some_and(Result::is_err), "{piece:?}");
}

/// Sends pings until the connection is closed, and returns how many were answered.
async fn ping(mut pings: PingPong) -> usize {
    let mut answered = 0;
    while pings.ping(Ping::opaque()).await.is_ok() {
        answered += 1;
        tokio::time::sleep(PING_EVERY).await;
    }
    answered
}

async fn attack(server: &Server) {
    let began = Instant::now();
    let stream = connect_from(ATTACKER, server.address).await;
    let mut builder = Builder::new();
    let client = builder.initial_window_size(0).handshake::<_, Bytes>(stream);
    let (sender, mut connection) = client.await.unwrap();
    let pings = connection.ping_pong().unwrap();
    let asked = join_all((0..STREAMS).map(|_| ask_and_do_not_read(sender.clone())));
    let (_, answered, _ended) = futures::join!(asked, ping(pings), connection);
    assert!(began.elapsed() >= WRITE_TIMEOUT, "{:?}", began.elapsed());
    assert!(answered > 3, "it did not look alive: {answered} pings were answered");
}

/// An answer of this size is read by a client that takes it.
async fn is_answered(client: &Client, bytes: usize) -> bool {
    let answer = ask(client, "huge-answer", &json!({ "bytes": bytes })).await;
    match answer.status {
        200 => assert_eq!(answer.body.len(), bytes),
        _ => answer.assert_problem(503, "overloaded"),
    }
    answer.status == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_read_end_the_connection_and_are_given_back() {
    let server = server().await;
    let client = &Client::keeping_one(server.address);
    let honest = async || {
        let request: Value = json!({ "still": "there" });
        assert_eq!(ask(client, "echo", &request).await.json(), request);
        assert!(is_answered(client, ANSWER_BYTES).await);
    };
    let deadline = Duration::from_secs(60);
    let attack = tokio::time::timeout(deadline, attack(&server));
    while_attacked(attack, honest).await.expect("the connection is closed");
    connections_are_back(client).await;
    // Takes all of the memory.
    eventually("all of the memory is free", async || {
        is_answered(client, MEMORY_BYTES).await.then_some(())
    })
    .await;
}
