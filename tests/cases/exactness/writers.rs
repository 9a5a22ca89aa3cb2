//! The writers. Each writes documents of its own, one write after the other without pauses, so it
//! knows what a write does.
//!
//! The position of a write comes from its answer. A write of documents has an `Idempotency-Key`,
//! so that one that the server was killed over can be sent again. Deletes and drops have none:
//! only one of them is under way at a time, so that a gap in the log tells whether it was
//! committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::log::Entry;
use super::oracle::{Change, Document, Text};
use super::position::Stated;
use super::tally::{Kind, add};
use super::words::{Rng, metadata, text};
use super::world::World;
use crate::harness::{Answer, Client};

/// Writes after which the first writer drops its collection, counted from a life's beginning.
const FIRST_DROP: usize = 12;
const DROP_EVERY: usize = 250;
/// Documents in a write that keeps the index busy.
const BULK: usize = 24;
const RETRIES: usize = 50;

/// How a write ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// The collection or the document does not exist.
    Nothing,
    /// The server is gone, and whether the write was committed is not known.
    Unknown,
}

/// A write of documents that can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) body: String,
    pub(super) entry: Entry,
}

/// One of the writers.
pub(super) struct Writer {
    number: usize,
    rng: Rng,
    pub(super) collection: String,
    /// How many ids it uses.
    ids: usize,
    serial: u64,
    /// What it wrote last, with the position.
    own: BTreeMap<String, (Document, u64)>,
    /// The write that was under way when the server was killed.
    pub(super) unanswered: Option<Put>,
}

impl Writer {
    pub(super) fn new(number: usize, collection: String, ids: usize, rng: Rng) -> Self {
        let own = BTreeMap::new();
        Self { number, rng, collection, ids, serial: 0, own, unanswered: None }
    }

    /// Writes until the world stops or the server is gone.
    pub(super) async fn run(mut self, world: Arc<World>, client: Client) -> Self {
        for count in 1.. {
            if world.stop.load(Ordering::Relaxed) {
                break;
            }
            let drop_due = self.number == 0 && count % DROP_EVERY == FIRST_DROP;
            let ended = match self.rng.below(100) {
                _ if drop_due => self.recreate(&world, &client).await,
                0..10 => self.delete(&world, &client).await,
                10..15 => self.repeat(&world, &client).await,
                _ => self.write(&world, &client).await,
            };
            if ended == Ended::Unknown {
                break;
            }
        }
        self
    }

    /// Inserts and updates documents.
    pub(super) async fn write(&mut self, world: &World, client: &Client) -> Ended {
        let count = match self.rng.below(100) {
            _ if self.own.len() < self.ids / 4 => BULK,
            0..4 => BULK,
            4..25 => 2 + self.rng.below(4),
            _ => 1,
        };
        let mut documents = BTreeMap::new();
        for _ in 0..count {
            let (id, document) = self.next_document();
            documents.insert(id, document);
        }
        // One that does not change next to those that do.
        if self.rng.chance(10)
            && let Some((id, (same, _))) = self.own.iter().nth(self.rng.below(self.ids))
        {
            documents.entry(id.clone()).or_insert_with(|| same.clone());
        }
        self.put(world, client, documents.into_iter().collect()).await
    }

    /// A new document, or one of its own with another text, other metadata, or both.
    fn next_document(&mut self) -> (String, Document) {
        let id = format!("w{}-{}", self.number, self.rng.below(self.ids));
        self.serial += 1;
        let mut document = match self.own.get(&id) {
            Some((before, _)) => before.clone(),
            None => Document { text: Arc::new(Text::new(String::new())), metadata: Arc::default() },
        };
        let kind = if self.own.contains_key(&id) { self.rng.below(3) } else { 2 };
        if kind != 0 {
            let before = document.text.text.clone();
            while document.text.text == before {
                document.text = new_text(&mut self.rng);
            }
        }
        if kind != 1 {
            let serial = (self.number as u64) << 32 | self.serial;
            document.metadata = Arc::new(metadata(&mut self.rng, serial));
        }
        (id, document)
    }

    async fn put(
        &mut self,
        world: &World,
        client: &Client,
        documents: Vec<(String, Document)>,
    ) -> Ended {
        let began = world.ledger.begin(&[]).at;
        let key = format!("{}-{began}", self.number);
        let change = Change::Put(documents);
        let entry = Entry { collection: self.collection.clone(), change, began };
        let put = Put { key, body: body(&entry.change), entry };
        let ended = self.send(world, client, &put).await;
        if ended == Ended::Unknown {
            self.unanswered = Some(put);
        }
        ended
    }

    /// Sends a write of documents, again if the server is busy.
    pub(super) async fn send(&mut self, world: &World, client: &Client, put: &Put) -> Ended {
        let path = format!("/v1/collections/{}/documents", self.collection);
        for _ in 0..RETRIES {
            let request = client.request("POST", &path).header("idempotency-key", &put.key);
            let request = request.header("content-type", "application/json");
            let position = match wrote(world, request.body(put.body.clone()), &put.entry).await {
                Ok(Some(answer)) => answer,
                Ok(None) => continue,
                Err(ended) => return ended,
            };
            if let Change::Put(documents) = &put.entry.change {
                for (id, document) in documents {
                    self.own.insert(id.clone(), (document.clone(), position));
                    world.will_need(&document.text.text);
                }
            }
            return Ended::Done;
        }
        world.tally.violation(Kind::Failed, format!("a write was refused {RETRIES} times"));
        Ended::Nothing
    }

    /// Writes what is stored already, which changes nothing and gets no position of its own.
    async fn repeat(&mut self, world: &World, client: &Client) -> Ended {
        // The collection must not be dropped meanwhile.
        let Ok(_exists) = world.drops.try_read() else { return Ended::Nothing };
        let created = world.ledger.created(&self.collection);
        let mut kept = self.own.iter().filter(|(_, (_, at))| *at > created);
        let Some((id, (document, at))) = kept.next() else { return Ended::Nothing };
        let change = Change::Put(vec![(id.clone(), document.clone())]);
        let path = format!("/v1/collections/{}/documents", self.collection);
        let request = client.request("POST", &path).header("content-type", "application/json");
        let Ok(answer) = Answer::try_to(request.body(body(&change))).await else {
            return gone(world, "a repeated write");
        };
        match (answer.status, Stated::by(&answer)) {
            (503, _) => world.refused(&world.tally.refused, &answer),
            (200 | 202, Ok(Stated::One(position))) if position.at >= *at => {
                world.ledger.saw(position, &world.tally);
            }
            _ => world.tally.violation(Kind::Log, format!("repeated, stored at {at}: {answer:?}")),
        }
        Ended::Done
    }

    async fn delete(&mut self, world: &World, client: &Client) -> Ended {
        let index = self.rng.below(self.own.len().max(1));
        let Some(id) = self.own.keys().nth(index).cloned() else { return Ended::Nothing };
        let Ok(mut under_way) = world.keyless.try_lock() else { return Ended::Nothing };
        let path = format!("/v1/collections/{}/documents/{id}", self.collection);
        let request = client.request("DELETE", &path);
        self.own.remove(&id);
        keyless(world, request, &self.collection, Change::Delete(id), &mut under_way).await
    }

    /// Drops the collection and creates it again, while the others write to it.
    async fn recreate(&mut self, world: &World, client: &Client) -> Ended {
        let mut under_way = world.keyless.lock().await;
        let drops = world.drops.write().await;
        let path = format!("/v1/collections/{}", self.collection);
        for (method, change) in [("DELETE", Change::Drop), ("PUT", Change::Create)] {
            let mut ended = Ended::Nothing;
            for _ in 0..RETRIES {
                let (request, change) = (client.request(method, &path), change.clone());
                ended = keyless(world, request, &self.collection, change, &mut under_way).await;
                if ended != Ended::Nothing {
                    break;
                }
            }
            if ended != Ended::Done {
                return ended;
            }
            if method == "DELETE" {
                add(&world.tally.drops);
                self.own.clear();
                // Readers find out that it is gone.
                world.until_absence_is_seen().await;
            }
        }
        drop((drops, under_way));
        self.write(world, client).await
    }
}

fn new_text(rng: &mut Rng) -> Arc<Text> {
    Arc::new(Text::new(text(rng)))
}

/// A write without an `Idempotency-Key`. The caller holds the lock on the one that is under way.
pub(super) async fn keyless(
    world: &World,
    request: RequestBuilder,
    collection: &str,
    change: Change,
    under_way: &mut Option<Entry>,
) -> Ended {
    if under_way.is_some() {
        // The server was killed over another one.
        return Ended::Unknown;
    }
    let began = world.ledger.begin(&[]).at;
    let entry = Entry { collection: collection.to_owned(), change, began };
    *under_way = Some(entry.clone());
    let ended = match wrote(world, request, &entry).await {
        Ok(Some(_)) => Ended::Done,
        Ok(None) => Ended::Nothing,
        Err(ended) => ended,
    };
    if ended != Ended::Unknown {
        *under_way = None;
    }
    ended
}

/// Sends a write and takes note of its position, which it returns, or of why there is none:
/// `None` if it was refused and can be sent again.
async fn wrote(
    world: &World,
    request: RequestBuilder,
    entry: &Entry,
) -> Result<Option<u64>, Ended> {
    let Ok(answer) = Answer::try_to(request).await else { return Err(gone(world, "a write")) };
    match answer.status {
        200..=202 => {}
        404 => return Err(Ended::Nothing),
        503 => {
            world.refused(&world.tally.refused, &answer);
            return Ok(None);
        }
        _ => {
            world.tally.violation(Kind::Failed, format!("{entry:?}: {answer:?}"));
            return Err(Ended::Nothing);
        }
    }
    add(&world.tally.writes);
    let searchable = answer.status != 202;
    if searchable {
        add(&world.tally.searchable);
    }
    match Stated::by(&answer) {
        Ok(Stated::One(position)) if says(&answer, entry, position.at, searchable) => {
            world.ledger.wrote(entry.clone(), position, searchable, &world.tally);
            Ok(Some(position.at))
        }
        other => {
            world.tally.violation(Kind::Form, format!("a write: {other:?} {answer:?}"));
            Err(Ended::Nothing)
        }
    }
}

/// Whether the body of a write's answer agrees with its status and its header.
fn says(answer: &Answer, entry: &Entry, position: u64, searchable: bool) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match entry.change {
        Change::Put(_) => body["position"] == position && body["searchable"] == searchable,
        _ => true,
    }
}

/// The connection broke, which only the kill of the server may do.
pub(super) fn gone(world: &World, what: &str) -> Ended {
    if !world.ending.load(Ordering::SeqCst) {
        world.tally.violation(Kind::Failed, format!("{what} got no answer from a running server"));
    }
    Ended::Unknown
}

fn body(change: &Change) -> String {
    let Change::Put(documents) = change else { unreachable!("only documents have a body") };
    let one = |(id, document): &(String, Document)| json!({ "id": id, "text": document.text.text, "metadata": *document.metadata });
    json!({ "documents": documents.iter().map(one).collect::<Value>() }).to_string()
}
