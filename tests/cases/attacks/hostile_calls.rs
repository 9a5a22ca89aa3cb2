//! Ten thousand hostile calls in a fixed mix: each ends as is documented, and what they took is given
//! back. `cargo xtask soak hostile` makes more of them, and looks at memory.

use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::super::asking::{ask, path};
use super::filter_bomb::{bomb, ingest_large};
use super::{ATTACKER, connections_are_back, while_attacked};
use crate::harness::{Answer, Client, Raw, Server, document, guest, plugin};

const CALLS: usize = 10_000;
const AT_ONCE: usize = 16;
/// So few that calls which do not give theirs back soon leave none.
const SLOTS: usize = 4;
/// Enough for a filter to cost too much.
const LARGE_DOCUMENTS: usize = 60;
/// The database and the index keep files open for the next use.
const FILES_KEPT: usize = 16;
const JSON: &str = "application/json";

/// A call, which may depend on its number.
enum Call {
    Ask(&'static str, Value),
    Send(&'static str, String, &'static str, Vec<u8>),
    /// Bytes on a connection of its own, from the attackers' address.
    Raw(String),
}

/// How a call ends.
#[derive(Clone, Copy)]
enum End {
    Answered,
    Problem(u16, &'static str),
    /// The client leaves without waiting for an answer.
    Left,
    /// The server closes the connection.
    Closed,
}

use Call::{Ask, Raw as Bytes, Send};
use End::{Answered, Closed, Left, Problem};

/// How many of a thousand calls are of this kind, how they end, and what they are.
type Kind = (usize, End, fn(usize) -> Call);

const MIX: [Kind; 21] = [
    // Guests.
    (200, Problem(500, "pipeline-trapped"), |n| Ask("trap", json!(n))),
    (30, Problem(500, "stack-overflow"), |n| Ask("recurse", json!(n))),
    (3, Problem(507, "memory-exceeded"), |n| Ask("allocate-forever", json!(n))),
    (3, Problem(507, "answer-too-large"), |_| Ask("huge-answer", json!({ "bytes": 32 << 20 }))),
    (2, Problem(504, "deadline-exceeded"), |n| Ask("loop-forever", json!(n))),
    (5, Answered, |_| {
        let attack = json!({
            "attack": "searches", "collection": "notes", "searches": 100, "values": 20,
            "value_bytes": 100,
        });
        Ask("attacks", attack)
    }),
    (1, Problem(500, "pipeline-trapped"), |_| Ask("attacks", json!({ "attack": "handles" }))),
    // Work.
    (2, Problem(400, "query-too-costly"), |n| Ask("search", bomb(n))),
    (10, Problem(400, "text-too-long"), |_| {
        let body = json!({ "input": "x".repeat(1 << 18), "model": "all-MiniLM-L6-v2" });
        Send("POST", "/v1/embeddings".into(), JSON, body.to_string().into())
    }),
    // Requests that are not valid.
    (150, Problem(400, "invalid-json"), |_| search(JSON, "{\"query\": \"boats\", ")),
    (80, Problem(400, "too-deep"), |_| search(JSON, &"[".repeat(1_000))),
    (50, Problem(400, "duplicate-key"), |_| search(JSON, "{\"query\": 1, \"query\": 2}")),
    (100, Problem(404, "not-found"), |_| Send("GET", "/v1/.env".into(), JSON, Vec::new())),
    (80, Problem(404, "unknown-pipeline"), |n| Ask("admin", json!(n))),
    (40, Problem(405, "method-not-allowed"), |_| Send("DELETE", path("search"), JSON, Vec::new())),
    (40, Problem(415, "unsupported-media-type"), |_| search("text/xml", "<query/>")),
    (20, Problem(413, "too-large"), |_| Bytes(head("weir", 2 << 20))),
    (20, Problem(421, "unknown-host"), |_| Bytes(head("evil.example", 2) + "{}")),
    (44, Closed, |_| Bytes("\x16\x03\x01\x02\r\n\r\n".into())),
    // Clients that leave.
    (60, Left, |n| {
        let body = json!({ "query": format!("boats {n}"), "mode": "keyword" }).to_string();
        Bytes(head("weir", body.len()) + &body)
    }),
    (60, Left, |_| Bytes(head("weir", 1 << 20) + &" ".repeat(1 << 10))),
];

fn search(content_type: &'static str, body: &str) -> Call {
    Send("POST", path("search"), content_type, body.into())
}

/// The head of a search with a body of so many bytes.
fn head(host: &str, bytes: usize) -> String {
    format!(
        "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {JSON}\r\ncontent-length: {bytes}\r\n\r\n",
        path("search")
    )
}

/// The kinds of a thousand calls, spread.
fn order() -> Vec<usize> {
    let of_kind = |(kind, (count, ..)): (usize, &Kind)| std::iter::repeat_n(kind, *count);
    let all: Vec<_> = MIX.iter().enumerate().flat_map(of_kind).collect();
    assert_eq!(all.len(), 1_000);
    // Has no divisor in common with a thousand, so that each place comes once.
    (0..all.len()).map(|place| all[place * 617 % all.len()]).collect()
}

async fn call(server: &Server, client: &Client, number: usize, kind: usize) {
    let (_, end, make) = MIX[kind];
    let answer = match make(number) {
        Ask(pipeline, body) => ask(client, pipeline, &body).await,
        Send(method, path, content_type, body) => {
            let request = client.request(method, &path).header("content-type", content_type);
            Answer::to(request.body(body)).await
        }
        Bytes(bytes) => return raw(server, &bytes, end).await,
    };
    match end {
        Problem(status, code) => answer.assert_problem(status, code),
        _ => {
            answer.assert_status(200);
            assert_ne!(answer.json()["done"]["refused"], 100, "all searches of an attack");
        }
    }
}

async fn raw(server: &Server, bytes: &str, end: End) {
    let mut raw = Raw::connect_from(ATTACKER, server.address).await;
    raw.send(bytes).await;
    match end {
        Problem(status, code) => {
            let (head, body) = raw.answer().await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], code, "{problem}");
        }
        Closed => {
            let answer = raw.closed().await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        _ => {}
    }
}

async fn server() -> Server {
    let server = Server::with(|config| {
        config
            .search()
            .pipeline("attacks", &guest("attacks"), &["embedding", "read", "logging"])
            .pipeline("echo", &plugin("echo"), &[])
            .set("engine.max_concurrent_guests", SLOTS as i64)
            .set("engine.queue_timeout_ms", 60_000)
            .set("engine.deadline_ms", 110_000);
        for name in ["trap", "recurse", "allocate-forever", "huge-answer", "loop-forever"] {
            config.pipeline(name, &guest(name), &[]);
        }
        config.set("pipelines.loop-forever.deadline_ms", 50);
    })
    .await;
    // Keeps no connection but this one, which is gone with it.
    let client = &Client::keeping_one(server.address);
    client.create("docs").await;
    client.create("notes").await;
    ingest_large(client, LARGE_DOCUMENTS).await;
    client.ingest("notes", &[document("a", "A note about boats.")]).await;
    server
}

/// Asks a new question and one that is in the cache.
async fn assert_exact(client: &Client, number: usize) {
    for query in [format!("a new question about boats {number}"), "boats".into()] {
        let question = json!({ "collection": "notes", "query": query, "mode": "keyword" });
        assert_eq!(client.search(&question).await.ids(), ["a"]);
    }
    let request = json!({ "still": "there", "number": number });
    assert_eq!(ask(client, "echo", &request).await.json(), request);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_calls_end_as_documented_and_leave_nothing_behind() {
    let server = server().await;
    let neighbour = Client::keeping_one(server.address);
    assert_exact(&neighbour, 0).await;
    let open = server.open_files();
    {
        let (server, order) = (&server, &order());
        let attacker = &Client::keeping_one(server.address);
        let calls =
            (0..CALLS).map(async |n| call(server, attacker, n, order[n % order.len()]).await);
        let attack = stream::iter(calls).buffer_unordered(AT_ONCE).collect::<()>();
        let mut asked = 0;
        let honest = async || {
            asked += 1;
            assert_exact(&neighbour, asked).await;
        };
        while_attacked(attack, honest).await;
    }
    connections_are_back(&neighbour).await;
    let now = server.open_files();
    assert!(now <= open + FILES_KEPT, "{open} files were open, and now {now}");
    // All slots, and again.
    let echoes = (0..4 * SLOTS).map(async |number| assert_exact(&neighbour, CALLS + number).await);
    futures::future::join_all(echoes).await;
}
