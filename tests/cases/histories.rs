//! Files that do not belong together: a truth that was restored from a copy, and indexes of
//! another history, of another time, or damaged. Answers are those of the truth, or refused; never
//! those of the index.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::asking::ask_with;
use crate::harness::{Answer, Client, Server, document, eventually};

const TRUTH: &str = "truth.sqlite";
const INDEX: &str = "vectors.sqlite";

fn folder(server: &Server) -> PathBuf {
    server.folder().join("data/tenants/default")
}

/// A database with the files that SQLite keeps next to it, as they were at one time.
pub(super) struct Copy(Vec<(String, Vec<u8>)>);

impl Copy {
    /// The server must have ended.
    pub(super) fn of(folder: &Path, database: &str) -> Self {
        let files = [database.to_owned(), format!("{database}-wal"), format!("{database}-shm")];
        let read = |file: String| Some((file.clone(), fs::read(folder.join(file)).ok()?));
        Self(files.into_iter().filter_map(read).collect())
    }

    pub(super) fn restore(&self, folder: &Path, database: &str) {
        for file in [database.to_owned(), format!("{database}-wal"), format!("{database}-shm")] {
            let _ = fs::remove_file(folder.join(file));
        }
        for (file, bytes) in &self.0 {
            fs::write(folder.join(file), bytes).unwrap();
        }
    }
}

async fn ended(server: &mut Server) {
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
}

async fn write(client: &Client, words: &[&str]) -> Answer {
    let documents: Vec<_> =
        words.iter().map(|word| document(word, &format!("A note about {word}."))).collect();
    client.ingest("docs", &documents).await
}

fn question() -> Value {
    json!({ "query": "note", "mode": "hybrid", "limit": 50 })
}

/// The answer at this position or later, once the index is as far.
async fn answer(client: &Client, position: u64) -> Answer {
    eventually("the index answers", async || {
        let answer = demand(client, &position.to_string()).await;
        match answer.status {
            200 => Some(answer),
            503 => None,
            _ => panic!("{answer:?}"),
        }
    })
    .await
}

async fn demand(client: &Client, position: &str) -> Answer {
    ask_with(client, "search", &question(), ("weir-min-position", position)).await
}

#[tokio::test]
async fn a_restored_truth_is_told_from_the_history_that_it_left() {
    let mut server = Server::start().await;
    server.client.create("docs").await;
    let wrote = write(&server.client, &["bread", "boats"]).await;
    let then = answer(&server.client, wrote.position()).await;
    ended(&mut server).await;
    let copy = Copy::of(&folder(&server), TRUTH);

    let mut server = server.restart().await;
    write(&server.client, &["cats"]).await;
    let (position, chain) = write(&server.client, &["stars"]).await.stated();
    ended(&mut server).await;
    let other_index = Copy::of(&folder(&server), INDEX);

    // Before new writes, the index is ahead of the truth.
    copy.restore(&folder(&server), TRUTH);
    let mut server = server.restart().await;
    let restored = answer(&server.client, then.position()).await;
    assert_eq!((restored.stated(), &restored.body), (then.stated(), &then.body));
    for unknown in [position.to_string(), format!("{position};chain={chain}")] {
        demand(&server.client, &unknown).await.assert_problem(409, "unknown-position");
    }
    // After them, the same positions are of another history.
    for word in ["rain", "snow", "wind"] {
        write(&server.client, &[word]).await;
    }
    let passed = demand(&server.client, &format!("{position};chain={chain}")).await;
    passed.assert_problem(409, "unknown-position");
    let now = answer(&server.client, position).await;
    assert!(now.position() > position && now.ids().len() == 5, "{now:?}");
    ended(&mut server).await;
    other_index.restore(&folder(&server), INDEX);
    let server = server.restart().await;
    let rebuilt = answer(&server.client, now.position()).await;
    assert_eq!((rebuilt.stated(), &rebuilt.body), (now.stated(), &now.body));
    server.logged("another history").await;
}

#[tokio::test]
async fn an_index_that_is_missing_old_or_damaged_is_rebuilt_to_the_byte() {
    let mut server = Server::start().await;
    server.client.create("docs").await;
    write(&server.client, &["bread", "boats"]).await;
    ended(&mut server).await;
    let old = Copy::of(&folder(&server), INDEX);
    let mut server = server.restart().await;
    write(&server.client, &["cats", "stars", "rain"]).await;
    let deleted = server.client.delete("/v1/collections/docs/documents/boats").await;
    deleted.assert_status(200);
    let now = answer(&server.client, deleted.position()).await;
    ended(&mut server).await;
    let current = Copy::of(&folder(&server), INDEX);

    let cut = |share: usize| {
        let cut = |(file, bytes): &(String, Vec<u8>)| {
            (file.clone(), bytes[..bytes.len() * share / 100].to_vec())
        };
        Copy(current.0.iter().map(cut).collect())
    };
    let text = Copy(vec![(INDEX.to_owned(), b"This is not a database.".repeat(400))]);
    let cases = [
        ("missing", Copy(Vec::new())),
        ("old", old),
        ("cut at half", cut(50)),
        ("cut near its end", cut(95)),
        ("empty", cut(0)),
        ("text", text),
    ];
    for (case, copy) in cases {
        copy.restore(&folder(&server), INDEX);
        server = server.restart().await;
        let rebuilt = answer(&server.client, now.position()).await;
        assert_eq!((rebuilt.stated(), &rebuilt.body), (now.stated(), &now.body), "{case}");
        ended(&mut server).await;
    }
}
