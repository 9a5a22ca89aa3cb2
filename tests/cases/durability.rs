//! What survives a kill in the middle of an ingest, a restart and a drain.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Client, Raw, Server, document, eventually};

const WRITERS: usize = 4;
const DOCUMENTS_IN_BATCH: usize = 5;
/// Enough for the writers to be in the middle of their work.
const ACKNOWLEDGED_BATCHES: usize = 12;

/// The documents of a batch, each with a word that no other document has.
fn batch(writer: usize, number: usize) -> Vec<Value> {
    let document = |index| {
        let word = word(writer, number, index);
        document(&word, &format!("The word of this document is {word}, and it is its own."))
    };
    (0..DOCUMENTS_IN_BATCH).map(document).collect()
}

fn word(writer: usize, number: usize, index: usize) -> String {
    format!("w{writer}b{number}d{index}")
}

/// Writes batch after batch until the server is gone, and records what is acknowledged.
async fn write(client: Client, writer: usize, acknowledged: Arc<Mutex<Vec<(usize, usize)>>>) {
    for number in 0.. {
        let body = json!({ "documents": batch(writer, number) }).to_string();
        let request = client.request("POST", "/v1/collections/docs/documents");
        let request = request.header("content-type", "application/json").body(body);
        match request.send().await {
            Ok(answer) if matches!(answer.status().as_u16(), 200 | 202) => {
                acknowledged.lock().unwrap().push((writer, number));
            }
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => return,
        }
    }
}

/// Waits until everything that is durable can be searched.
async fn caught_up(client: &Client) {
    eventually("the derived stores have caught up", async || {
        let health = client.get("/health/readiness").await.json();
        (health["truth"]["position"] == health["derived"]["position"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_kill_during_ingest_loses_nothing_acknowledged() {
    let mut server = Server::with(|config| {
        // A batch is acknowledged as soon as it is durable, so vectors are missing at the kill.
        config.search().set("ingest.searchable_timeout_ms", 0);
    })
    .await;
    server.client.create_at_once("docs").await;
    let acknowledged = Arc::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(server.client.clone(), writer, Arc::clone(&acknowledged))))
        .collect();
    eventually("batches are acknowledged", async || {
        (acknowledged.lock().unwrap().len() >= ACKNOWLEDGED_BATCHES).then_some(())
    })
    .await;
    server.kill9().await;
    for writer in writers {
        writer.await.unwrap();
    }
    let server = server.restart().await;
    let client = &server.client;
    caught_up(client).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    let mut count = 0;
    for writer in 0..WRITERS {
        // The batch after the last acknowledged one may have been in flight.
        let last = acknowledged.iter().filter(|(of, _)| *of == writer).map(|(_, number)| *number);
        for number in 0..=last.max().map_or(0, |last| last + 1) {
            let mut present = 0;
            for expected in batch(writer, number) {
                let id = expected["id"].as_str().unwrap();
                let stored = client.get(&format!("/v1/collections/docs/documents/{id}")).await;
                if stored.status == 200 {
                    assert_eq!(stored.json()["text"], expected["text"]);
                    present += 1;
                }
            }
            let whole = present == DOCUMENTS_IN_BATCH;
            assert!(whole || present == 0, "half of batch {number} of writer {writer}");
            assert!(
                whole || !acknowledged.contains(&(writer, number)),
                "{writer} {number} is lost"
            );
            count += present as u64;
        }
    }
    assert_eq!(client.count("docs").await, count);
    assert_found(client, &acknowledged).await;
}

/// Asserts that every document of these batches is found by its word and by its vector.
async fn assert_found(client: &Client, batches: &[(usize, usize)]) {
    for (writer, number) in batches {
        for document in batch(*writer, *number) {
            let id = document["id"].as_str().unwrap();
            let by_word = client.search(&json!({ "query": id, "mode": "keyword" })).await;
            assert_eq!(by_word.ids(), [id]);
            let question = json!({ "query": document["text"], "mode": "dense", "limit": 1 });
            let by_vector = client.search(&question).await;
            let score = by_vector.results()[0]["score"].as_f64().unwrap();
            assert!(score > 0.999, "{id} has no vector of its own: {}", by_vector.text());
        }
    }
}

#[tokio::test]
async fn a_restart_does_not_change_a_byte_of_an_answer() {
    let server = Server::start().await;
    let client = &server.client;
    client.create("docs").await;
    let topics = ["bread and flour", "ships and harbours", "cats and dogs", "stars and planets"];
    for (round, topic) in topics.iter().enumerate() {
        let documents: Vec<_> = (0..5)
            .map(|n| {
                let text = format!("Note {n} is about {topic}. {}", "It goes on. ".repeat(n * 20));
                json!({ "id": format!("{round}-{n}"), "text": text, "metadata": { "n": n } })
            })
            .collect();
        client.ingest("docs", &documents).await;
    }
    // Replaced and deleted documents leave nothing behind.
    client.ingest("docs", &[document("0-0", "Rewritten: a note on cats.")]).await;
    client.delete("/v1/collections/docs/documents/1-1").await.assert_status(200);
    let before = answers(client).await;
    let mut server = server;
    server.sigterm();
    assert!(server.wait().await.success());
    let server = server.restart().await;
    assert_eq!(answers(&server.client).await, before);
    // The same without a drain.
    let server = server.restart().await;
    assert_eq!(answers(&server.client).await, before);
}

/// The answers to questions in each mode, with the positions at which they are exact.
async fn answers(client: &Client) -> Vec<(u64, String)> {
    let mut answers = Vec::new();
    for mode in ["dense", "keyword", "hybrid"] {
        for query in ["flour", "a harbour for ships", "cats", "the planets"] {
            let question = json!({ "query": query, "mode": mode, "limit": 20 });
            let answer = client.search(&question).await;
            assert!(!answer.results().is_empty(), "{question}");
            answers.push((answer.position(), answer.text()));
        }
    }
    answers
}

/// A request to `echo` whose handler waits for its body; `finish` sends the body.
struct InFlight(Raw);

impl InFlight {
    async fn begin(server: &Server) -> Self {
        let mut raw = Raw::connect(server.address).await;
        raw.send(
            "POST /v1/pipelines/echo HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
             content-length: 7\r\nexpect: 100-continue\r\n\r\n",
        )
        .await;
        // The server sends this when the handler asks for the body: the request is now in flight.
        let head = raw.head().await;
        assert!(head.starts_with("http/1.1 100"), "{head}");
        Self(raw)
    }

    async fn finish(mut self) {
        self.0.send("{\"a\":1}").await;
        let (head, body) = self.0.answer().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(body, b"{\"a\":1}");
        assert!(self.0.closed().await.is_empty());
    }
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_finish() {
    let mut server = echo_server(10_000).await;
    let in_flight = InFlight::begin(&server).await;
    // A probe whose head is incomplete: it is answered, with 503.
    let mut probe = Raw::connect(server.address).await;
    probe.send("GET /health/readiness HTTP/1.1\r\nhost: weir\r\n").await;
    probe.taken().await;
    server.sigterm();
    server.logged("draining").await;
    eventually("nothing new is accepted", async || {
        tokio::net::TcpStream::connect(server.address).await.err()
    })
    .await;
    probe.send("\r\n").await;
    let (head, body) = probe.answer().await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    let health: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&health["ready"], &health["draining"]), (&json!(false), &json!(true)));
    in_flight.finish().await;
    assert_eq!(server.wait().await.code(), Some(0), "{}", server.log());
    server.logged("drained").await;
}

#[tokio::test]
async fn a_drain_has_a_time_limit() {
    let mut server = echo_server(200).await;
    let InFlight(mut raw) = InFlight::begin(&server).await;
    server.sigterm();
    assert_eq!(server.wait().await.code(), Some(0), "{}", server.log());
    server.logged("the drain timed out").await;
    assert!(raw.closed().await.is_empty());
}

#[tokio::test]
async fn a_second_signal_ends_the_drain() {
    let mut server = echo_server(10_000).await;
    let _in_flight = InFlight::begin(&server).await;
    server.sigterm();
    server.logged("draining").await;
    let started = std::time::Instant::now();
    server.sigterm();
    assert_eq!(server.wait().await.code(), Some(0), "{}", server.log());
    assert!(started.elapsed().as_secs() < 9, "it waited for the drain to end");
}

async fn echo_server(drain_timeout_ms: i64) -> Server {
    Server::with(|config| {
        config
            .pipeline("echo", &crate::harness::plugin("echo"), &[])
            .set("server.drain_timeout_ms", drain_timeout_ms);
    })
    .await
}
