//! A crash at each point of a change of the model (`weir_core::crash`): each answer is that of the
//! model that its position belongs to, before and after the crash, no position goes back, nothing
//! acknowledged is lost, and what takes over is what an index has that is built from nothing.
//!
//! A build of the server of its own dies at the points, so the tests run only in
//! `cargo xtask soak faults`.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::{Value, json};

use super::faults::remove_index;
use super::models::{add_other, answer, next, question, scores};
use crate::harness::{Answer, Client, Program, Server, document, eventually};

/// So many that the next index is not ready before the first answer.
const DOCUMENTS: usize = 200;

/// Sends `body`, unless the server is gone.
async fn try_post(client: &Client, path: &str, body: &Value) -> Option<Answer> {
    let request = client.request("POST", path).header("content-type", "application/json");
    let answer = Answer::try_to(request.body(body.to_string())).await.ok()?;
    // 202 is for a note that is not searchable in time.
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    Some(answer)
}

/// The answers to one question over documents that do not change, in the order of their requests,
/// while another collection does.
struct Seen {
    answers: Vec<Answer>,
    /// How many notes are acknowledged.
    notes: u64,
}

impl Seen {
    /// Writes a note, and asks. `None` if the server is gone.
    async fn more(&mut self, client: &Client) -> Option<()> {
        let note = document(&format!("n{}", self.notes), "A NOTE.");
        let notes = json!({ "documents": [note] });
        try_post(client, "/v1/collections/notes/documents", &notes).await?;
        self.notes += 1;
        self.answers.push(try_post(client, "/v1/pipelines/search", &question()).await?);
        Some(())
    }

    /// Asserts that answers go from what the first one says to what the last one says at one
    /// position, and that positions never go back.
    fn assert_changed_once(&self) {
        let found = |answer: &Answer| scores(&answer.json()["results"]);
        let (first, last) = (&self.answers[0], &self.answers[self.answers.len() - 1]);
        let (of_old, of_new) = (found(first), found(last));
        assert_ne!(of_old, of_new);
        let mut models: BTreeMap<u64, bool> = BTreeMap::new();
        let mut before = 0;
        for answer in &self.answers {
            let (position, found) = (answer.position(), found(answer));
            assert!(position >= before, "{position} after {before}");
            before = position;
            let is_new = found == of_new;
            assert!(is_new || found == of_old, "at {position}: {found:?}");
            assert_eq!(*models.entry(position).or_insert(is_new), is_new, "at {position}");
        }
        assert!(models.values().is_sorted(), "{models:?}");
    }
}

/// A server that has begun to change its model, and what it answered before.
async fn changing(program: Program) -> (Server, Seen, tempfile::TempDir) {
    let mut server = Server::running(Program::Faulty(None), |config| {
        config.search();
    })
    .await;
    let documents: Vec<_> = (0..DOCUMENTS)
        .map(|n| document(&format!("d{n}"), &format!("NOTE {n} ABOUT A BOAT.")))
        .collect();
    server.client.create("notes").await;
    server.client.create("docs").await;
    let wrote = server.client.ingest("docs", &documents).await;
    let first = answer(&server.client, wrote.position()).await;
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    let files = tempfile::tempdir().unwrap();
    server.reconfigure(|config| {
        config.search();
        add_other(config, files.path());
    });
    (server.replaced_by(program).await, Seen { answers: vec![first], notes: 0 }, files)
}

async fn crash(point: &'static str) {
    println!("a crash at {point}");
    let (mut server, mut seen, _files) = changing(Program::Dying(point)).await;
    while seen.more(&server.client).await.is_some() {}
    assert_eq!(server.wait().await.signal(), Some(libc::SIGABRT), "{}", server.log());

    let server = server.replaced_by(Program::Faulty(None)).await;
    let client = &server.client;
    let acknowledged = seen.notes;
    assert!((acknowledged..=acknowledged + 1).contains(&client.count("notes").await));
    until_changed(client, &mut seen).await;
    changed(server, seen).await;
}

/// Writes and asks until the new model answers.
async fn until_changed(client: &Client, seen: &mut Seen) {
    eventually("the new model answers", async || {
        seen.more(client).await.expect("it answers");
        (next(client).await == Value::Null).then_some(())
    })
    .await;
}

/// Asserts what is true once the change is complete.
async fn changed(server: Server, mut seen: Seen) {
    seen.more(&server.client).await.expect("it answers");
    seen.assert_changed_once();
    let last = seen.answers.pop().unwrap();
    let mut server = server.restart().await;
    let same = answer(&server.client, last.position()).await;
    assert_eq!((same.stated(), &same.body), (last.stated(), &last.body));
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    remove_index(&server);
    let server = server.restart().await;
    let rebuilt = answer(&server.client, last.position()).await;
    assert_eq!((rebuilt.stated(), &rebuilt.body), (last.stated(), &last.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_while_the_model_changes() {
    for point in ["before-model-change", "after-model-change", "before-takeover", "after-takeover"]
    {
        crash(point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_while_the_new_index_takes_the_old_ones_place() {
    for point in ["before-promotion", "after-promotion"] {
        println!("a crash at {point}");
        let (mut server, mut seen, _files) = changing(Program::Faulty(None)).await;
        until_changed(&server.client, &mut seen).await;
        server.kill9().await;
        server.dies_at_start(point).await;
        let server = server.restart().await;
        changed(server, seen).await;
    }
}
