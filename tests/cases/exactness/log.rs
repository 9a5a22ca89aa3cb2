//! What the checker did and saw, in an order of its own: the log of writes by position, what a
//! request may not fall behind, and the answers that wait to be checked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::oracle::Change;
use super::position::{Position, Stated};
use super::question::Question;
use super::tally::{Kind, Tally};
use crate::harness::Answer;

/// A write, at its position.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) collection: String,
    pub(super) change: Change,
    /// When its request began, on the ledger's clock.
    pub(super) began: u64,
}

/// What was known when a request began.
#[derive(Clone, Debug)]
pub(super) struct Began {
    /// On the ledger's clock.
    pub(super) at: u64,
    /// For each collection of the request, the highest position of a write that was answered 200.
    pub(super) acknowledged: BTreeMap<String, u64>,
    /// The same, of writes that were answered so long before that no old answer may be without them.
    pub(super) required_of_old: BTreeMap<String, u64>,
    /// What the answers to questions about the same collections had stated.
    pub(super) stated: BTreeMap<String, u64>,
    /// The highest position that any answer had shown.
    pub(super) known: u64,
}

/// An answer that waits to be checked.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) question: Arc<Question>,
    pub(super) began: Began,
    /// When the answer was complete, on the ledger's clock.
    pub(super) ended: u64,
    /// What the request demanded.
    pub(super) demanded: Option<u64>,
    pub(super) stated: Stated,
    pub(super) answer: Answer,
}

impl Record {
    /// The collections that the pipeline read for certain. It reads them in order, and an error
    /// may be about the first one.
    pub(super) fn read_for_certain(&self) -> &[String] {
        let collections = self.question.collections.as_slice();
        if self.answer.status == 200 { collections } else { &collections[..1] }
    }

    /// Whether the answer says that something has changed since it was made.
    pub(super) fn is_old(&self) -> bool {
        self.answer.header("cache-status").ends_with("; detail=stale-after-change")
    }
}

#[derive(Default)]
struct Inner {
    clock: u64,
    log: BTreeMap<u64, Entry>,
    chains: HashMap<u64, u32>,
    created: HashMap<String, u64>,
    acknowledged: BTreeMap<String, u64>,
    required_of_old: BTreeMap<String, u64>,
    /// The writes that old answers may still be without, with when they were answered 200.
    recent: VecDeque<(Instant, String, u64)>,
    stated: HashMap<Vec<String>, BTreeMap<String, u64>>,
    known: Option<Position>,
    /// The highest position, also of those that were shown without a chain value.
    highest: u64,
    records: Vec<Record>,
}

impl Inner {
    /// What old answers must have now: all that was answered 200 longer ago than this.
    fn required_of_old(&mut self, allowed: Duration) -> &BTreeMap<String, u64> {
        while let Some((_, collection, at)) =
            self.recent.pop_front_if(|(answered, ..)| answered.elapsed() > allowed)
        {
            let required = self.required_of_old.entry(collection).or_default();
            *required = at.max(*required);
        }
        &self.required_of_old
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Puts a write into the log. Returns the one that was there.
    fn insert(&mut self, position: u64, entry: Entry) -> Option<Entry> {
        if matches!(entry.change, Change::Create | Change::Drop) {
            let created = self.created.entry(entry.collection.clone()).or_default();
            *created = position.max(*created);
        }
        self.log.insert(position, entry)
    }

    /// Takes note of a position that the server has shown.
    fn saw(&mut self, position: Position, tally: &Tally) {
        let Position { at, chain } = position;
        let known = *self.chains.entry(at).or_insert(chain);
        if known != chain {
            let text = format!("position {at} has the chain values {known:08x} and {chain:08x}");
            tally.violation(Kind::Form, text);
        }
        self.highest = self.highest.max(at);
        if self.known.is_none_or(|known| known.at < at) {
            self.known = Some(position);
        }
    }
}

/// Everything that the checker's tasks share about positions.
#[derive(Default)]
pub(super) struct Ledger {
    inner: Mutex<Inner>,
    /// How long after a change an answer may be served that is marked as old.
    old_allowed: Duration,
}

impl Ledger {
    pub(super) fn allowing_old(old_allowed: Duration) -> Self {
        Self { inner: Mutex::default(), old_allowed }
    }

    /// Begins a request about these collections.
    pub(super) fn begin(&self, collections: &[String]) -> Began {
        let inner = &mut *self.inner.lock().unwrap();
        let at = inner.tick();
        let acknowledged = inner.acknowledged.iter();
        let of_request = acknowledged.filter(|(name, _)| collections.contains(name));
        let acknowledged = of_request.map(|(name, at)| (name.clone(), *at)).collect();
        Began {
            at,
            acknowledged,
            required_of_old: inner.required_of_old(self.old_allowed).clone(),
            stated: inner.stated.get(collections).cloned().unwrap_or_default(),
            known: inner.highest,
        }
    }

    /// The highest position that any answer has shown.
    pub(super) fn known(&self) -> Option<Position> {
        self.inner.lock().unwrap().known
    }

    /// Takes note of how far the log is, from an answer that has no chain value.
    pub(super) fn told(&self, position: u64) {
        let inner = &mut *self.inner.lock().unwrap();
        inner.highest = inner.highest.max(position);
    }

    /// Takes note of a position that an answer has shown which is not checked itself.
    pub(super) fn saw(&self, position: Position, tally: &Tally) {
        self.inner.lock().unwrap().saw(position, tally);
    }

    /// Takes note of a write that was answered with its position, with 200 if it is `searchable`.
    pub(super) fn wrote(&self, entry: Entry, position: Position, searchable: bool, tally: &Tally) {
        let inner = &mut *self.inner.lock().unwrap();
        inner.saw(position, tally);
        if searchable {
            let acknowledged = inner.acknowledged.entry(entry.collection.clone()).or_default();
            *acknowledged = position.at.max(*acknowledged);
            let collection = entry.collection.clone();
            inner.recent.push_back((Instant::now(), collection, position.at));
        }
        if let Some(other) = inner.insert(position.at, entry.clone()) {
            let text = format!("two writes at position {}: {entry:?} and {other:?}", position.at);
            tally.violation(Kind::Log, text);
        }
    }

    /// Puts a write into the log that was found out about later.
    pub(super) fn resolved(&self, position: u64, entry: Entry) {
        self.inner.lock().unwrap().insert(position, entry);
    }

    /// The position at which a collection was created last, or dropped.
    pub(super) fn created(&self, collection: &str) -> u64 {
        self.inner.lock().unwrap().created.get(collection).copied().unwrap_or(0)
    }

    /// Takes note of a complete answer, and keeps it to be checked.
    pub(super) fn answered(&self, mut record: Record, tally: &Tally) {
        let inner = &mut *self.inner.lock().unwrap();
        record.ended = inner.tick();
        let question = &record.question;
        let read = record.read_for_certain();
        for collection in read {
            let Some(position) = record.stated.of(collection) else { continue };
            inner.saw(position, tally);
            // An error about one of several collections is not about the same ones as an answer.
            if read.len() == question.collections.len() {
                let stated = inner.stated.entry(question.collections.clone()).or_default();
                let highest = stated.entry(collection.clone()).or_default();
                *highest = position.at.max(*highest);
            }
        }
        inner.records.push(record);
    }

    /// The answers that were not taken yet.
    pub(super) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.inner.lock().unwrap().records)
    }

    /// The whole log.
    pub(super) fn log(&self) -> BTreeMap<u64, Entry> {
        self.inner.lock().unwrap().log.clone()
    }

    /// The positions below `end` that belong to no write that is known.
    pub(super) fn gaps(&self, end: u64) -> Vec<u64> {
        let inner = self.inner.lock().unwrap();
        (1..end).filter(|at| !inner.log.contains_key(at)).collect()
    }

    /// Puts chunks of the log into words, for a report.
    pub(super) fn around(&self, position: u64, collections: &[String]) -> String {
        let inner = self.inner.lock().unwrap();
        let entries = inner.log.range(position.saturating_sub(6)..=position + 3);
        let line = |(at, entry): (&u64, &Entry)| {
            let mark = if collections.contains(&entry.collection) { '*' } else { ' ' };
            format!("  {mark}{at} {} {}\n", entry.collection, described(&entry.change))
        };
        entries.map(line).collect()
    }
}

fn described(change: &Change) -> String {
    match change {
        Change::Put(documents) => {
            let described = documents.iter().map(|(id, document)| {
                format!("{id} {:?} {}", document.text.text, document.metadata)
            });
            format!("put {}", described.collect::<Vec<_>>().join(" | "))
        }
        other => format!("{other:?}"),
    }
}
