//! The mix: which calls there are, how many of each in a thousand, and how each may end.
//!
//! The calls of a thousand are in one order, always the same, in which the kinds are spread. Guests
//! whose memory or slots others have at the moment may also be refused, and those that have much to do
//! may meet their deadline, because all of them share the machine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use reqwest::Method;
use serde_json::json;

use super::calls::{Call, LEFT};
use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::world::BAD;
use crate::commands::soak::experiment::{bombs, texts};
use crate::traffic::connection::request;
use crate::traffic::outcome::Counts;

const SEED: u64 = 5;
pub(super) const OVERLOADED: &str = "503 overloaded";
const DEADLINE: &str = "504 deadline-exceeded";
const JSON: &str = "application/json";
const SEARCH: &str = "pipelines/search";
/// Almost as large as the server takes a body.
const LONG: usize = (1 << 20) - 1_000;

/// A kind of calls.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How many of a thousand calls are of this kind.
    pub(super) of_thousand: usize,
    /// How one may end.
    pub(super) ends: &'static [&'static str],
    make: fn() -> Call,
}

const fn kind(
    name: &'static str,
    of_thousand: usize,
    ends: &'static [&'static str],
    make: fn() -> Call,
) -> Kind {
    Kind { name, of_thousand, ends, make }
}

/// The kinds. Those that take the server long are rare, so that a run does not take hours.
pub(super) static KINDS: &[Kind] = &[
    // Guests.
    kind("trap", 136, &["500 pipeline-trapped", OVERLOADED], || Call::Ask("trap", number())),
    kind("stack overflow", 50, &["500 stack-overflow", OVERLOADED], || {
        Call::Ask("recurse", number())
    }),
    kind("allocates forever", 20, &["507 memory-exceeded", OVERLOADED], || {
        Call::Ask("allocate-forever", number())
    }),
    kind("answer of 32 MB", 20, &["507 answer-too-large", OVERLOADED], || {
        Call::Ask("huge-answer", json!({ "bytes": 32 << 20 }))
    }),
    kind("computes forever", 5, &[DEADLINE, OVERLOADED], || Call::Ask("loop-forever", number())),
    kind("200 searches that are not awaited", 30, &["200", DEADLINE, OVERLOADED], || {
        Call::Ask(
            "attacks",
            json!({
                "attack": "searches", "collection": BAD, "searches": 200, "values": 20,
                "value_bytes": 100, "number": texts::number(),
            }),
        )
    }),
    kind(
        "a million parts of the request",
        1,
        &["500 pipeline-trapped", DEADLINE, OVERLOADED],
        || Call::Ask("attacks", json!({ "attack": "parts" })),
    ),
    kind("a million handles", 5, &["500 pipeline-trapped", DEADLINE, OVERLOADED], || {
        Call::Ask("attacks", json!({ "attack": "handles" }))
    }),
    kind("a list of 64 MiB", 5, &["507 memory-exceeded", DEADLINE, OVERLOADED], || {
        Call::Ask("attacks", json!({ "attack": "lists", "texts": 1, "text_bytes": 64 << 20 }))
    }),
    kind("10,000 lines in the log", 1, &["200", DEADLINE, OVERLOADED], || {
        Call::Ask("attacks", json!({ "attack": "logs" }))
    }),
    // Work.
    kind("costly filter from a guest", 2, &["200", DEADLINE, OVERLOADED], || {
        Call::Ask("attacks", bombs::from_a_guest(2))
    }),
    kind("costly filter", 15, &["400 query-too-costly", DEADLINE, OVERLOADED], || {
        Call::Ask("search", bombs::question())
    }),
    kind("word of 1 MB", 20, &["400 text-too-long", OVERLOADED], || {
        let input = "x".repeat(LONG);
        let body = json!({ "model": "all-MiniLM-L6-v2", "input": input }).to_string();
        Call::Send(Method::POST, "embeddings", JSON, body.into())
    }),
    // Requests that are not valid.
    kind("malformed JSON", 120, &["400 invalid-json"], || search(br#"{"query": "boats", "#)),
    kind("nested JSON", 80, &["400 too-deep"], || search("[".repeat(10_000).as_bytes())),
    kind("a key twice", 40, &["400 duplicate-key"], || search(br#"{"query": "a", "query": "b"}"#)),
    kind("no UTF-8", 30, &["400 invalid-utf8"], || search(b"{\"query\": \"\xff\xfe\"}")),
    kind("unknown path", 100, &["404 not-found"], || {
        Call::Send(Method::GET, "../.env", JSON, Vec::new())
    }),
    kind("unknown pipeline", 60, &["404 unknown-pipeline"], || Call::Ask("admin", number())),
    kind("method that is not allowed", 30, &["405 method-not-allowed"], || {
        Call::Send(Method::DELETE, SEARCH, JSON, Vec::new())
    }),
    kind("content type that is not supported", 30, &["415 unsupported-media-type"], || {
        Call::Send(Method::POST, SEARCH, "text/xml", b"<a/>".to_vec())
    }),
    kind("body that is too large", 20, &["413"], || Call::Raw(announced(2 << 20).into_bytes())),
    kind("another host's name", 20, &["421"], || {
        let request = request("/v1/pipelines/search", "{}");
        Call::Raw(request.replace("host: localhost", "host: evil.example").into_bytes())
    }),
    kind("no HTTP", 20, &["400"], || {
        Call::Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec())
    }),
    // Clients that leave.
    kind("abandoned", 80, &[LEFT], || {
        let mut question = texts::new_question(BAD);
        // Vectors would fill a cache that is not full after the first tenth.
        question["mode"] = json!("keyword");
        Call::Leave(request("/v1/pipelines/search", &question.to_string()).into_bytes())
    }),
    kind("body that is cut off", 60, &[LEFT], || {
        Call::Leave((announced(1 << 20) + &" ".repeat(64 << 10)).into_bytes())
    }),
];

/// A body that no cache knows.
fn number() -> serde_json::Value {
    json!({ "number": texts::number() })
}

fn search(body: &[u8]) -> Call {
    Call::Send(Method::POST, SEARCH, JSON, body.to_vec())
}

/// The head of a request with a body of so many bytes.
fn announced(bytes: usize) -> String {
    format!(
        "POST /v1/pipelines/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\n\
         content-length: {bytes}\r\n\r\n"
    )
}

/// The calls of a thousand in their order, and how they ended.
pub(super) struct Mix {
    /// Indices of kinds.
    order: Vec<usize>,
    ends: Mutex<BTreeMap<usize, Counts>>,
}

impl Default for Mix {
    fn default() -> Self {
        let of_kind = |(index, kind): (usize, &Kind)| std::iter::repeat_n(index, kind.of_thousand);
        let mut order: Vec<_> = KINDS.iter().enumerate().flat_map(of_kind).collect();
        order.shuffle(&mut StdRng::seed_from_u64(SEED));
        Self { order, ends: Mutex::default() }
    }
}

impl Mix {
    /// Makes the call with this number.
    pub(super) async fn call(&self, target: &Target, number: u64) {
        let index = self.order[number as usize % self.order.len()];
        let end = (KINDS[index].make)().make(target).await;
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(index).or_default().add(end);
    }

    /// How calls ended so far, in the order of [`KINDS`].
    pub(super) fn ends(&self) -> Vec<(&'static Kind, Counts)> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().map(|(index, counts)| (&KINDS[*index], counts.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_calls_are_a_thousand() {
        assert_eq!(KINDS.iter().map(|kind| kind.of_thousand).sum::<usize>(), 1_000);
        assert_eq!(Mix::default().order.len(), 1_000);
        assert_eq!(Mix::default().order, Mix::default().order);
        assert_ne!(Mix::default().order[..130], [0; 130], "the kinds are spread");
    }
}
