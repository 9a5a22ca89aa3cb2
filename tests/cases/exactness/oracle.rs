//! What the collections contain at a position, and the statistics of their words: a fold of the
//! log. Written from the specification; it shares nothing with the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::words::terms;

/// Below this many chunks at the last roll, each commit that changes chunks is a roll.
const SMALL: usize = 128;
/// Otherwise a roll needs more than one changed chunk in this many.
const SHARE: usize = 10;
/// BM25.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// The length in terms that counts as average.
const LENGTH: f64 = 80.0;

/// A document's text, which is short enough to be one chunk, and its terms.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    counts: BTreeMap<String, usize>,
    length: usize,
    /// Its vector, once it was needed.
    pub(super) vector: OnceLock<Arc<[f32]>>,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        let terms = terms(&text);
        let length = terms.len();
        Self { text, counts: counted(terms), length, vector: OnceLock::new() }
    }

    /// How many chunks the text has: a text without words has none.
    pub(super) fn chunks(&self) -> usize {
        usize::from(self.length > 0)
    }

    pub(super) fn count(&self, term: &str) -> usize {
        self.counts.get(term).copied().unwrap_or(0)
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

/// How often each term occurs.
pub(super) fn counted(terms: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for term in terms {
        *counts.entry(term).or_default() += 1;
    }
    counts
}

/// A version of a document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) text: Arc<Text>,
    pub(super) metadata: Arc<Value>,
}

impl Document {
    fn is(&self, other: &Self) -> bool {
        self.text.text == other.text.text && self.metadata == other.metadata
    }
}

/// What a commit does.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create,
    Drop,
    Put(Vec<(String, Document)>),
    Delete(String),
    /// Something that the checker cannot know, because the server was killed.
    Unknown,
}

/// How many chunks there are, and in how many of them each term occurs.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    pub(super) chunks: usize,
    with: HashMap<String, usize>,
}

impl Statistics {
    fn add(&mut self, text: &Text) {
        self.chunks += text.chunks();
        for term in text.counts.keys() {
            *self.with.entry(term.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, text: &Text) {
        self.chunks -= text.chunks();
        for term in text.counts.keys() {
            *self.with.get_mut(term).expect("it was added") -= 1;
        }
    }

    /// The chunks with a term.
    pub(super) fn with(&self, term: &str) -> usize {
        self.with.get(term).copied().unwrap_or(0)
    }
}

/// BM25 of a chunk for the terms of a query.
pub(super) fn bm25(query: &BTreeMap<String, usize>, text: &Text, statistics: &Statistics) -> f64 {
    let norm = K1 * (1.0 - B + B * text.length as f64 / LENGTH);
    let weight = |(term, times): (&String, &usize)| {
        let (all, with) = (statistics.chunks as f64, statistics.with(term) as f64);
        let idf = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
        let count = text.count(term) as f64;
        idf * *times as f64 * count * (K1 + 1.0) / (count + norm)
    };
    query.iter().map(weight).sum()
}

/// A collection as of a position.
#[derive(Clone, Debug, Default)]
pub(super) struct Collection {
    pub(super) documents: BTreeMap<String, Document>,
    current: Statistics,
    /// Those of the last roll, which keyword searches use.
    pub(super) rolled: Statistics,
    /// Chunks removed and added since the last roll.
    changed: usize,
    /// A commit whose effect is not known changed it.
    pub(super) uncertain: bool,
}

impl Collection {
    /// Returns how many chunks this removes and adds; 0 if the document is stored already.
    fn put(&mut self, id: &str, document: &Document) -> usize {
        if self.documents.get(id).is_some_and(|before| before.is(document)) {
            return 0;
        }
        let before = self.documents.insert(id.to_owned(), document.clone());
        self.replaced(before.as_ref(), Some(document))
    }

    fn replaced(&mut self, before: Option<&Document>, after: Option<&Document>) -> usize {
        if let Some(before) = before {
            self.current.remove(&before.text);
        }
        if let Some(after) = after {
            self.current.add(&after.text);
        }
        [before, after].into_iter().flatten().map(|document| document.text.chunks()).sum()
    }

    /// Ends a commit that removed and added this many chunks. Returns whether it is a roll.
    fn commit(&mut self, changed: usize) -> bool {
        self.changed += changed;
        let at_last_roll = self.rolled.chunks;
        let due = at_last_roll < SMALL || self.changed * SHARE > at_last_roll;
        let rolls = self.changed > 0 && due;
        if rolls {
            self.rolled = self.current.clone();
            self.changed = 0;
        }
        rolls
    }
}

/// All collections as of a position.
#[derive(Default)]
pub(super) struct State {
    pub(super) collections: BTreeMap<String, Collection>,
    /// The last position that changed a collection of this name.
    pub(super) last: BTreeMap<String, u64>,
    /// Rolls of collections that were not small.
    pub(super) rolls: usize,
}

impl State {
    /// Applies the commit at `position`.
    ///
    /// # Errors
    /// No server can have carried it out at this position.
    pub(super) fn apply(
        &mut self,
        position: u64,
        name: &str,
        change: &Change,
    ) -> Result<(), String> {
        self.last.insert(name.to_owned(), position);
        let impossible = |why: &str| Err(format!("position {position} in '{name}': {why}"));
        let collection = self.collections.get_mut(name);
        match (collection, change) {
            (None, Change::Create) => {
                self.collections.insert(name.to_owned(), Collection::default());
            }
            (Some(_), Change::Create) => return impossible("a collection that exists is created"),
            (None, _) => return impossible("there is no collection"),
            (Some(_), Change::Drop) => {
                self.collections.remove(name);
            }
            (Some(collection), Change::Unknown) => collection.uncertain = true,
            (Some(collection), Change::Put(documents)) => {
                let small = collection.rolled.chunks < SMALL;
                let put = documents.iter().map(|(id, document)| collection.put(id, document));
                let changed = put.sum();
                self.rolls += usize::from(collection.commit(changed) && !small);
            }
            (Some(collection), Change::Delete(id)) => {
                let small = collection.rolled.chunks < SMALL;
                let Some(before) = collection.documents.remove(id) else {
                    // After a commit that is not known, anything can be.
                    let uncertain = collection.uncertain;
                    return if uncertain { Ok(()) } else { impossible("no such document") };
                };
                let changed = collection.replaced(Some(&before), None);
                self.rolls += usize::from(collection.commit(changed) && !small);
            }
        }
        Ok(())
    }
}
