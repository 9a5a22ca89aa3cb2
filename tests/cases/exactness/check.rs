//! Checks the answers of one life of the server against the log, when the log is complete.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::hits;
use super::log::{Entry, Ledger, Record};
use super::oracle::{Change, State};
use super::position::Stated;
use super::question::Mode;
use super::ranking::{Candidate, candidates};
use super::tally::{Kind, Tally, add};
use super::vectors::Vectors;
use crate::harness::Client;

/// Expected hits in a report.
const SHOWN: usize = 12;

/// What is kept from life to life: the bytes of an answer, as a hash, by its question and the
/// last changes of what it read.
#[derive(Default)]
pub(super) struct Seen(HashMap<(String, Vec<u64>), u64>);

/// Everything that a check needs.
pub(super) struct Checker<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) tally: &'a Tally,
    pub(super) vectors: &'a Vectors,
}

impl Checker<'_> {
    /// Checks every answer that was not checked yet. Returns the state at the end of the log.
    pub(super) async fn all(&self, client: &Client, seen: &mut Seen) -> State {
        let (log, records) = (self.ledger.log(), self.ledger.take());
        if let Some(gap) = self.ledger.gaps(log.keys().max().map_or(0, |last| last + 1)).first() {
            let text = format!("position {gap} was given to no write of the checker");
            self.tally.violation(Kind::Log, text);
        }
        let questions = records.iter().map(|record| &record.question);
        let queries = questions.filter(|question| question.mode != Mode::Keyword);
        let queries = queries.map(|question| question.query.clone());
        let texts: Vec<_> = queries.chain(log.values().flat_map(texts)).collect();
        self.vectors.fetch(client, texts).await.expect("the server is up");

        // Each part of an answer is checked when the fold has reached its position.
        let mut parts: Vec<(u64, usize, &str)> = Vec::new();
        for (index, record) in records.iter().enumerate() {
            self.at_once(record, &log);
            let collections = match &record.stated {
                Stated::Each(_) => record.question.collections.as_slice(),
                _ => &record.question.collections[..1],
            };
            for collection in collections {
                if let Some(position) = record.stated.of(collection) {
                    parts.push((position.at, index, collection));
                }
            }
        }
        parts.sort_unstable();
        let (mut state, mut entries) = (State::default(), log.iter().peekable());
        for (position, index, collection) in parts {
            while let Some((at, entry)) = entries.next_if(|(at, _)| **at <= position) {
                self.apply(&mut state, *at, entry);
            }
            self.part(&records[index], collection, position, &state, seen);
        }
        for (at, entry) in entries {
            self.apply(&mut state, *at, entry);
        }
        self.tally.rolls.store(state.rolls as u64, Ordering::Relaxed);
        state
    }

    fn apply(&self, state: &mut State, at: u64, entry: &Entry) {
        if let Err(text) = state.apply(at, &entry.collection, &entry.change) {
            self.tally.violation(Kind::Log, text);
        }
    }

    /// What needs no state: positions that go back, and the form of the answer.
    fn at_once(&self, record: &Record, log: &BTreeMap<u64, Entry>) {
        let collections = record.read_for_certain();
        for collection in collections {
            let Some(position) = record.stated.of(collection) else { continue };
            let stale = |what: &str, least: u64| {
                if position.at < least {
                    let text =
                        format!("{} for '{collection}' is below {what} {least}", position.at);
                    self.report(Kind::Stale, record, position.at, &text, "");
                }
            };
            stale("the demanded", record.demanded.unwrap_or(0));
            if record.is_old() {
                let required = record.began.required_of_old.get(collection);
                stale("what no answer may be without", required.copied().unwrap_or(0));
                continue;
            }
            for (name, floor) in &record.began.acknowledged {
                // A position that is common to all collections has to suit all of them.
                let common = !record.stated.is_split() && collections.contains(name);
                if common || name == collection {
                    stale("the acknowledged", *floor);
                }
            }
            stale("the already stated", record.began.stated.get(collection).copied().unwrap_or(0));
        }
        let states_all = collections.iter().all(|name| record.stated.of(name).is_some());
        if record.stated.is_split() && !states_all {
            self.report(Kind::Form, record, 0, "a collection has no position", "");
        }
        let status = record.answer.header("cache-status");
        let shared = ["hit", "stored", "collapsed"].iter().any(|word| status.contains(word));
        if record.stated.is_split() && shared {
            self.report(Kind::Form, record, 0, "a split answer is shared", "");
        }
        if record.stated == Stated::Nothing {
            self.nothing_stated(record, log);
        }
    }

    /// An error without a position: there must have been a time, between its beginning and its
    /// end, when one of the collections did not exist.
    fn nothing_stated(&self, record: &Record, log: &BTreeMap<u64, Entry>) {
        if record.answer.status == 200 {
            return self.report(Kind::Form, record, 0, "no position is stated", "");
        }
        let absent = |collection: &String| {
            let floor = record.began.acknowledged.get(collection).copied().unwrap_or(0);
            let mut lines = log.iter().filter(|(_, entry)| entry.collection == *collection);
            let later = lines.clone().find(|(at, entry)| {
                **at > floor && matches!(entry.change, Change::Drop) && entry.began < record.ended
            });
            let before = lines.rfind(|(at, _)| **at <= floor);
            let absent_then = before.is_none_or(|(_, entry)| matches!(entry.change, Change::Drop));
            later.is_some() || absent_then
        };
        if !record.question.collections.iter().any(absent) {
            self.report(Kind::Wrong, record, 0, "the collection existed all the time", "");
        }
    }

    /// Checks the part of an answer that was read at `position`: of one collection if the answer
    /// is split, otherwise all of it.
    fn part(&self, record: &Record, of: &str, position: u64, state: &State, seen: &mut Seen) {
        let split = record.stated.is_split();
        if split && record.answer.status != 200 {
            // It does not say which of the collections did not exist.
            return add(&self.tally.unchecked);
        }
        let all = &record.question.collections;
        let collections = all.iter().filter(|name| !split || *name == of);
        let existing = collections.clone().filter_map(|name| state.collections.get(name));
        if existing.clone().any(|collection| collection.uncertain) {
            return add(&self.tally.unchecked);
        }
        let exists = existing.count() == collections.clone().count();
        if record.answer.status != 200 || !exists {
            if exists || record.answer.status == 200 {
                let text = format!("status {}, exists: {exists}", record.answer.status);
                self.report(Kind::Wrong, record, position, &text, "");
            }
            return;
        }
        if !split && self.is_repeated(record, position, state, seen) {
            return;
        }
        add(&self.tally.compared);
        let Ok(body) = serde_json::from_slice::<Value>(&record.answer.body) else {
            return self.report(Kind::Wrong, record, position, "the body is not JSON", "");
        };
        if !record.question.has_members(&body) {
            self.report(Kind::Wrong, record, position, "the answer has other members", "");
        }
        for name in collections {
            let question = &record.question;
            let expected = candidates(question, &state.collections[name], self.vectors);
            if let Err(text) = hits::check(question, &expected, &body[question.member(name)]) {
                let text = format!("in '{name}': {text}");
                self.report(Kind::Wrong, record, position, &text, &listed(&expected));
            }
        }
    }

    /// Compares the bytes with those of an earlier answer to the same question, between which and
    /// this one nothing that it reads was changed. Returns whether there is one.
    fn is_repeated(&self, record: &Record, at: u64, state: &State, seen: &mut Seen) -> bool {
        let last = |name: &String| state.last.get(name).copied().unwrap_or(0);
        let lasts = record.question.collections.iter().map(last).collect();
        let mut hasher = DefaultHasher::new();
        record.answer.body.hash(&mut hasher);
        let hash = hasher.finish();
        match seen.0.entry((record.question.key(), lasts)) {
            Slot::Vacant(slot) => {
                slot.insert(hash);
                false
            }
            Slot::Occupied(slot) if *slot.get() == hash => true,
            Slot::Occupied(slot) => {
                let text = format!("other bytes than before, of the same states: {:?}", slot.key());
                self.report(Kind::Unequal, record, at, &text, "");
                false
            }
        }
    }

    fn report(&self, kind: Kind, record: &Record, position: u64, what: &str, expected: &str) {
        let Record { question, began, ended, demanded, answer, .. } = record;
        let text = format!(
            "{what}\nquestion {}\nbegan {began:?}, ended {ended}, demanded {demanded:?}\n\
             status {} {:?}\ngot {}\nexpected, before limit and offset:\n{expected}\
             log around it (* is what it read):\n{}",
            question.key(),
            answer.status,
            answer.headers,
            answer.text(),
            self.ledger.around(position, &question.collections),
        );
        self.tally.violation(kind, text);
    }
}

/// The texts that a write brings.
fn texts(entry: &Entry) -> Vec<String> {
    match &entry.change {
        Change::Put(documents) => documents
            .iter()
            .filter(|(_, document)| document.text.chunks() > 0)
            .map(|(_, document)| document.text.text.clone())
            .collect(),
        _ => Vec::new(),
    }
}

fn listed(candidates: &[Candidate]) -> String {
    let line = |candidate: &Candidate| {
        let Candidate { id, document, lowest, highest, .. } = candidate;
        let (text, metadata) = (&document.text.text, &document.metadata);
        format!("  {id} {lowest:.7} to {highest:.7} {text:?} {metadata}\n")
    };
    let shown: String = candidates.iter().take(SHOWN).map(line).collect();
    format!("{shown}  ({} in all)\n", candidates.len())
}
