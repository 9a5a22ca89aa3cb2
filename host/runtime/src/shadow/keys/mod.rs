//! Where the keys of two policies differ: a key of the deployed one that the candidate *splits*, because it makes
//! several keys of the same requests, and keys that it *merges* into one.
//!
//! A merge of requests with different answers would give some clients the answers of others. Whether two answers are
//! the same can only be told if both are exact at the same position, or the first is still true when the second is
//! given. Memory: 128 bytes for each key up to [`MAX_KEYS`] of either policy, and the texts of [`MAX_TEXTS`] of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;
use weir_cache::CacheKey;
use weir_core::Position;

use super::counts::shortened;

/// How many keys of a policy are compared.
const MAX_KEYS: usize = 1 << 15;
/// For how many keys it is known what they were made of.
const MAX_TEXTS: usize = 1 << 11;
/// How many examples there are of each kind.
const MAX_EXAMPLES: usize = 10;
/// How many parts of a key are kept.
const MAX_PARTS: usize = 16;

/// A part of a key, as `explain` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub part: String,
    /// Its text; `None` if the request has none.
    pub text: Option<String>,
}

/// Whether the answers to merged requests are the same, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// They are.
    Same,
    /// Documents changed in between, so it cannot be told.
    Unknown,
    /// They are not.
    Different,
}

/// Requests that have one key under one policy, and two under the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The one key.
    pub key: String,
    /// What it is made of.
    pub parts: Vec<Part>,
    /// What the other policy makes two keys of.
    pub others: [Vec<Part>; 2],
    /// Whether the two answers are the same.
    pub answers: Answers,
}

/// How the keys differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// Different keys of the deployed policy.
    pub deployed: u64,
    /// Different keys of the candidate.
    pub candidate: u64,
    /// Keys of the deployed policy that the candidate splits.
    pub split: u64,
    /// How many keys it makes of them.
    pub split_into: u64,
    /// Keys of the deployed policy that the candidate merges with others.
    pub merged: u64,
    /// How many keys it makes of them.
    pub merged_into: u64,
    /// Those of them under which there were different answers.
    pub merged_different: u64,
    /// Examples of keys that are split.
    pub split_examples: Vec<Example>,
    /// Examples of keys that are merged, those with different answers first.
    pub merge_examples: Vec<Example>,
    /// Requests that were not compared, because there are too many keys.
    pub not_compared: u64,
}

/// A request under both policies.
pub(super) struct Request<'a, P: Fn(bool) -> Vec<Part>> {
    pub(super) deployed: &'a CacheKey,
    pub(super) candidate: &'a CacheKey,
    /// The validator of its answer, and the position at which that is exact.
    pub(super) answer: Option<(u128, Position)>,
    /// Whether the candidate had an answer to another key of the deployed policy that is still true, and is another
    /// one.
    pub(super) finds_other_answer: bool,
    /// What the deployed policy's key is made of (`true`), or the candidate's.
    pub(super) parts: P,
}

/// The keys that were seen.
#[derive(Default)]
pub(super) struct Relation {
    deployed: HashMap<CacheKey, Row>,
    candidate: HashMap<CacheKey, Row>,
    texts: usize,
    keys: Keys,
}

/// A key of one policy.
struct Row {
    /// The first key of the other policy that came with it.
    first: CacheKey,
    has_several: bool,
    is_different: bool,
    /// What `first` is made of.
    text: Option<Box<[Part]>>,
    answer: Option<(u128, Position)>,
}

impl Relation {
    /// Notes a request.
    pub(super) fn note<P: Fn(bool) -> Vec<Part>>(&mut self, request: &Request<'_, P>) {
        let is_full =
            |rows: &HashMap<CacheKey, Row>, key| rows.len() >= MAX_KEYS && !rows.contains_key(key);
        if is_full(&self.deployed, request.deployed) || is_full(&self.candidate, request.candidate)
        {
            self.keys.not_compared += 1;
            return;
        }
        let is_new_deployed = !self.deployed.contains_key(request.deployed);
        let is_new_candidate = !self.candidate.contains_key(request.candidate);
        self.note_split(request, is_new_candidate);
        self.note_merge(request, is_new_deployed);
        self.keys.deployed = self.deployed.len() as u64;
        self.keys.candidate = self.candidate.len() as u64;
    }

    /// How the keys differ.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = self.keys.clone();
        keys.merge_examples.sort_by_key(|example| std::cmp::Reverse(example.answers));
        keys
    }

    fn note_split<P: Fn(bool) -> Vec<Part>>(
        &mut self,
        request: &Request<'_, P>,
        is_new_candidate: bool,
    ) {
        let Some(row) =
            row(&mut self.deployed, &mut self.texts, *request.deployed, *request.candidate, || {
                ((request.parts)(false), request.answer)
            })
        else {
            return;
        };
        if !row.has_several {
            row.has_several = true;
            self.keys.split += 1;
            self.keys.split_into += 1;
        }
        if is_new_candidate {
            self.keys.split_into += 1;
        }
        if self.keys.split_examples.len() < MAX_EXAMPLES
            && let Some(first) = row.text.take()
        {
            self.texts -= 1;
            self.keys.split_examples.push(Example {
                key: request.deployed.to_string(),
                parts: (request.parts)(true),
                others: [first.into_vec(), (request.parts)(false)],
                answers: compared(row.answer, request),
            });
        }
    }

    fn note_merge<P: Fn(bool) -> Vec<Part>>(
        &mut self,
        request: &Request<'_, P>,
        is_new_deployed: bool,
    ) {
        let Some(row) = row(
            &mut self.candidate,
            &mut self.texts,
            *request.candidate,
            *request.deployed,
            || ((request.parts)(true), request.answer),
        ) else {
            return;
        };
        if !row.has_several {
            row.has_several = true;
            self.keys.merged += 1;
            self.keys.merged_into += 1;
        }
        if is_new_deployed {
            self.keys.merged += 1;
        }
        let answers = compared(row.answer, request);
        let is_first_difference = answers == Answers::Different && !row.is_different;
        if is_first_difference {
            row.is_different = true;
            self.keys.merged_different += 1;
        }
        let examples = &mut self.keys.merge_examples;
        if examples.len() == MAX_EXAMPLES && is_first_difference {
            // It says more than one of equal answers.
            let harmless = examples.iter().position(|one| one.answers != Answers::Different);
            harmless.into_iter().for_each(|index| drop(examples.remove(index)));
        }
        let is_wanted = is_new_deployed || is_first_difference;
        if examples.len() < MAX_EXAMPLES
            && is_wanted
            && let Some(first) = &row.text
        {
            examples.push(Example {
                key: request.candidate.to_string(),
                parts: (request.parts)(false),
                others: [first.to_vec(), (request.parts)(true)],
                answers,
            });
        }
    }
}

/// The row of a key, if it comes with another key of the other policy than at first. A new one gets its text and
/// answer from `of_new`.
fn row<'a>(
    rows: &'a mut HashMap<CacheKey, Row>,
    texts: &mut usize,
    key: CacheKey,
    other: CacheKey,
    of_new: impl FnOnce() -> (Vec<Part>, Option<(u128, Position)>),
) -> Option<&'a mut Row> {
    match rows.entry(key) {
        Entry::Occupied(row) => Some(row.into_mut()).filter(|row| row.first != other),
        Entry::Vacant(vacant) => {
            let (text, answer) = of_new();
            let text = (*texts < MAX_TEXTS).then(|| text.into_boxed_slice());
            *texts += usize::from(text.is_some());
            vacant.insert(Row {
                first: other,
                has_several: false,
                is_different: false,
                text,
                answer,
            });
            None
        }
    }
}

/// Whether the answer to a request is the one that was given before.
fn compared<P: Fn(bool) -> Vec<Part>>(
    before: Option<(u128, Position)>,
    request: &Request<'_, P>,
) -> Answers {
    if request.finds_other_answer {
        return Answers::Different;
    }
    match (before, request.answer) {
        (Some((one, _)), Some((other, _))) if one == other => Answers::Same,
        (Some((_, one)), Some((_, other))) if one == other => Answers::Different,
        _ => Answers::Unknown,
    }
}

/// The parts of a key, as much of them as is kept.
pub(super) fn parts(named: Vec<(String, Option<String>)>, added: &[String]) -> Vec<Part> {
    let named = named.into_iter();
    let added = added.iter().map(|text| ("keying".to_owned(), Some(text.clone())));
    let part = |(part, text): (String, Option<String>)| Part {
        part: shortened(&part),
        text: text.as_deref().map(shortened),
    };
    named.chain(added).take(MAX_PARTS).map(part).collect()
}

#[cfg(test)]
mod tests;
