//! A crash at each point of the way of a write and of what follows from it
//! (`weir_core::crash`): nothing acknowledged is lost, no half of a write is there, answers are those
//! of an index that is built from nothing, and no position is refused that was stated before.
//!
//! A build of the server of its own dies at the points, so the tests run only in
//! `cargo xtask soak faults`. Kills at any time are in `durability` and in `exactness`.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::{Value, json};

use super::asking::ask_with;
use crate::harness::{Answer, Client, Program, Server, eventually};

const COLLECTIONS: [&str; 2] = ["docs", "notes"];
const IDS: usize = 24;
const TOPICS: [&str; 5] = ["bread and flour", "ships", "cats and dogs", "stars", "the law of rain"];
/// A text that cannot be embedded, if the server dies at its mark.
const REFUSED: &str = "An unembeddable text about flour.";
/// More writes than come before any of the points.
const MOST_WRITES: usize = 20_000;
/// How many of the last positions are demanded later, and of the others.
const POSITIONS_TRIED: usize = 40;

/// What is stored: the texts of each collection that exists.
type Stored = BTreeMap<&'static str, BTreeMap<String, String>>;

/// A write, which changes what is stored as a whole or not at all.
#[derive(Clone, Debug)]
enum Write {
    Create(&'static str),
    Drop(&'static str),
    Put(&'static str, Vec<(String, String)>),
    Delete(&'static str, String),
}

impl Write {
    /// The write with this number. There are all kinds among the first few.
    fn numbered(number: usize) -> Self {
        let collection = COLLECTIONS[usize::from(number % 3 == 2)];
        let id = |offset: usize| format!("d{}", (number * 7 + offset * 5) % IDS);
        match number {
            0 | 1 => Self::Create(COLLECTIONS[number]),
            _ if number % 20 == 18 => Self::Drop(COLLECTIONS[1]),
            _ if number % 20 == 19 => Self::Create(COLLECTIONS[1]),
            _ if number % 4 == 3 => Self::Delete(collection, id(3)),
            _ => {
                let document = |offset| {
                    let text = match (number % 16, offset) {
                        (6, 0) => REFUSED.to_owned(),
                        _ => format!("Note {number} is about {}.", TOPICS[(number + offset) % 5]),
                    };
                    (id(offset), text)
                };
                Self::Put(collection, (0..1 + number % 3).map(document).collect())
            }
        }
    }

    fn request(&self, client: &Client) -> reqwest::RequestBuilder {
        let collection = |name: &str| format!("/v1/collections/{name}");
        match self {
            Self::Create(name) => client.request("PUT", &collection(name)),
            Self::Drop(name) => client.request("DELETE", &collection(name)),
            Self::Delete(name, id) => {
                client.request("DELETE", &format!("{}/documents/{id}", collection(name)))
            }
            Self::Put(name, documents) => {
                let one = |(id, text): &(String, String)| json!({ "id": id, "text": text });
                let body = json!({ "documents": documents.iter().map(one).collect::<Value>() });
                let request = client.request("POST", &format!("{}/documents", collection(name)));
                request.header("content-type", "application/json").body(body.to_string())
            }
        }
    }

    fn apply(self, stored: &mut Stored) {
        match self {
            Self::Create(name) => drop(stored.entry(name).or_default()),
            Self::Drop(name) => drop(stored.remove(name)),
            Self::Put(name, documents) => {
                stored.get_mut(name).expect("it exists").extend(documents);
            }
            Self::Delete(name, id) => {
                stored.get_mut(name).expect("it exists").remove(&id);
            }
        }
    }
}

/// Positions with their chain values, as a client demands them.
#[derive(Default)]
struct Positions {
    stated: BTreeMap<u64, String>,
    /// The highest that an answer to a question has stated.
    answered: u64,
}

impl Positions {
    fn stated_by(&mut self, answer: &Answer) {
        self.stated.insert(answer.position(), answer.header("weir-position").to_owned());
    }
}

/// Writes until the server is gone. Returns what is stored without the last write, and with it.
async fn write(client: &Client, positions: &mut Positions) -> (Stored, Stored) {
    let mut stored = Stored::new();
    for number in 0..MOST_WRITES {
        let write = Write::numbered(number);
        let Ok(answer) = Answer::try_to(write.request(client)).await else {
            let mut with = stored.clone();
            write.apply(&mut with);
            return (stored, with);
        };
        let is_absent = matches!(write, Write::Delete(..)) && answer.status == 404;
        assert!(is_absent || (200..=202).contains(&answer.status), "{write:?}: {answer:?}");
        if !is_absent {
            positions.stated_by(&answer);
            write.apply(&mut stored);
        }
    }
    panic!("the server did not die");
}

/// Asks until the server is gone.
async fn ask(client: &Client) -> Positions {
    let mut positions = Positions::default();
    let question = json!({ "query": "flour", "mode": "keyword" });
    loop {
        let request = client.request("POST", "/v1/pipelines/search");
        let request = request.header("content-type", "application/json");
        match Answer::try_to(request.body(question.to_string())).await {
            Ok(answer) if answer.status == 200 => {
                positions.stated_by(&answer);
                let (position, _) = answer.stated();
                assert!(position >= positions.answered, "{answer:?}");
                positions.answered = position;
            }
            Ok(answer) => answer.assert_problem(404, "unknown-collection"),
            Err(_) => return positions,
        }
    }
}

/// What the server has in its truth.
async fn stored(client: &Client) -> Stored {
    let mut stored = Stored::new();
    for collection in COLLECTIONS {
        let path = format!("/v1/collections/{collection}");
        if client.get(&path).await.status == 404 {
            continue;
        }
        let documents = stored.entry(collection).or_default();
        for id in (0..IDS).map(|number| format!("d{number}")) {
            let document = client.get(&format!("{path}/documents/{id}")).await;
            if document.status == 200 {
                documents.insert(id, document.json()["text"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(client.count(collection).await, documents.len() as u64);
    }
    stored
}

/// The answers at the last position, in each mode.
async fn answers(client: &Client, stored: &Stored) -> Vec<(u64, String)> {
    eventually("the index has caught up", async || {
        let health = client.get("/health/readiness").await.json();
        (health["truth"]["position"] == health["derived"]["position"]).then_some(())
    })
    .await;
    let mut answers = Vec::new();
    for collection in stored.keys() {
        for mode in ["dense", "keyword", "hybrid"] {
            for query in ["flour", "notes about cats", "an unembeddable text", "rain"] {
                let question = json!({
                    "collection": collection, "query": query, "mode": mode, "limit": 100,
                });
                let answer = client.search(&question).await;
                answers.push((answer.position(), answer.text()));
            }
        }
    }
    answers
}

/// Asserts that these positions are still ones, and are reached: the last of them, and some others.
async fn assert_reached(client: &Client, stated: &BTreeMap<u64, String>) {
    let others = stated.iter().step_by(stated.len() / POSITIONS_TRIED + 1);
    for (position, demanded) in others.chain(stated.iter().rev().take(POSITIONS_TRIED)) {
        let header = ("weir-min-position", demanded.as_str());
        let answer = ask_with(client, "search", &json!({ "query": "flour" }), header).await;
        // What a search says of a collection that does not exist is exact at a position, too.
        assert!(matches!(answer.status, 200 | 404), "{demanded}: {answer:?}");
        assert!(answer.position() >= *position, "{demanded}: {answer:?}");
    }
}

/// A server that writes at full speed dies at this point; another one goes on.
async fn crash(point: &'static str) {
    println!("a crash at {point}");
    let mut server = Server::running(Program::Dying(point), |config| {
        // Writers do not wait for the index, so that it lags.
        config.search().set("ingest.searchable_timeout_ms", 0).set("log.level", "info");
    })
    .await;
    let (client, mut positions) = (server.client.clone(), Positions::default());
    let asked = tokio::spawn(async move { ask(&client).await });
    let (without, with) = write(&server.client, &mut positions).await;
    assert_eq!(server.wait().await.signal(), Some(libc::SIGABRT), "{}", server.log());
    let asked = asked.await.unwrap();
    positions.stated.extend(asked.stated);

    let mut server = server.replaced_by(Program::Faulty(None)).await;
    let client = &server.client;
    if without.contains_key("docs") {
        let first = client.search(&json!({ "query": "flour" })).await;
        assert!(first.position() >= asked.answered, "{} {first:?}", asked.answered);
    }
    let has = stored(client).await;
    assert!(has == without || has == with, "{has:?}\n{without:?}\n{with:?}");
    let found = answers(client, &has).await;
    assert_reached(client, &positions.stated).await;

    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
    remove_index(&server);
    let server = server.restart().await;
    let rebuilt = answers(&server.client, &has).await;
    assert_eq!(rebuilt, found, "{point}");
    assert_reached(&server.client, &positions.stated).await;
}

/// Removes the index of a server that has ended.
pub(super) fn remove_index(server: &Server) {
    let folder = server.folder().join("data/tenants/default");
    std::fs::remove_file(folder.join("vectors.sqlite")).unwrap();
    for file in ["vectors.sqlite-wal", "vectors.sqlite-shm"] {
        let _ = std::fs::remove_file(folder.join(file));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_on_the_way_of_a_write() {
    for point in [
        "before-commit",
        "before-commit:9",
        "before-commit:18",
        "before-commit:19",
        "after-commit",
        "after-commit:13",
        "after-commit:18",
    ] {
        crash(point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_on_the_way_of_a_page() {
    for point in [
        "before-page",
        "before-page:8",
        "after-page",
        "after-page:8",
        "after-tags",
        "after-tags:8",
        "after-publish",
        "after-publish:8",
    ] {
        crash(point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_while_the_history_is_trimmed() {
    for point in [
        "before-statistics",
        "before-statistics:2",
        "after-statistics",
        "after-statistics:2",
        "before-complete",
        "before-complete:1",
        "after-complete",
        "after-complete:1",
        "before-trim",
        "before-trim:1",
        "after-trim",
        "after-trim:1",
        "before-forgetting",
        "before-forgetting:2",
        "after-forgetting",
    ] {
        crash(point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_crash_at_the_mark_of_a_document_that_is_set_aside() {
    for point in ["before-mark", "before-mark:1", "after-mark", "after-mark:1"] {
        crash(point).await;
    }
}
