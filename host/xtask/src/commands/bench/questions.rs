//! Generates the bodies of requests and the documents from their numbers, so that every server gets
//! the same ones.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// The collection that is searched.
pub(crate) const COLLECTION: &str = "bench";
/// How many documents it has.
pub(super) const DOCUMENTS: usize = 400;

const WORDS_OF_A_DOCUMENT: usize = 40;
const WORDS_OF_A_QUESTION: usize = 6;
/// Documents and questions use the same words, but never the same seeds.
const SEED_OF_DOCUMENTS: u64 = 1 << 32;
const SEED_OF_QUESTIONS: u64 = 2 << 32;

/// The most frequent words first, with frequencies about as unequal as in real text.
const WORDS: &str = "flow wing pressure body heat layer boundary number surface speed wave shock \
    jet plate cone nose angle edge shell panel load stress strain buckling vibration flutter \
    tunnel model theory method solution equation series value ratio force drag lift moment wake \
    vortex turbulence friction transfer temperature gas air density viscosity diffusion mass \
    momentum energy radiation ablation entry orbit satellite rocket engine nozzle propeller \
    rotor blade helicopter aircraft missile cylinder sphere cavity gap slot flap tail stability \
    control damping frequency mode resonance noise sound measurement experiment test instrument";

/// The body of a request: question number `key`, in a mode of `search`. Without a mode, the body
/// has the same length for every key.
pub(crate) fn body(key: usize, mode: Option<&str>) -> String {
    match mode {
        None => format!(
            r#"{{"query":"what is known about number {key:08} of the list?","collection":"{COLLECTION}","limit":10}}"#
        ),
        Some(mode) => {
            let words = words(SEED_OF_QUESTIONS + key as u64, WORDS_OF_A_QUESTION);
            let query = format!("What is known about {words}?");
            json!({ "query": query, "collection": COLLECTION, "mode": mode, "limit": 10 })
                .to_string()
        }
    }
}

/// Documents by their numbers, as NDJSON.
pub(super) fn documents(numbers: Range<usize>) -> String {
    let line = |number: usize| -> Value {
        let words = words(SEED_OF_DOCUMENTS + number as u64, WORDS_OF_A_DOCUMENT);
        json!({ "id": format!("document-{number}"), "text": format!("On {words}.") })
    };
    numbers.map(|number| format!("{}\n", line(number))).collect()
}

/// `count` words, the same ones for the same seed.
pub(crate) fn words(seed: u64, count: usize) -> String {
    let all: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = StdRng::seed_from_u64(seed);
    let word = |_| {
        // Squaring a number below 1 makes it smaller, which prefers the words at the front.
        let place = random.random::<f64>().powi(2) * all.len() as f64;
        all[place as usize]
    };
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn bodies_without_a_mode_have_the_same_length() {
        assert_eq!(body(0, None).len(), body(99_999, None).len());
        let parsed: Value = serde_json::from_str(&body(7, None)).unwrap();
        assert_eq!(parsed["limit"], 10);
    }

    #[test]
    fn questions_differ_and_repeat() {
        assert_ne!(body(1, Some("dense")), body(2, Some("dense")));
        assert_eq!(body(1, Some("dense")), body(1, Some("dense")));
        // Each mode asks the same query, so the first mode warms the embedding cache for the
        // others.
        let query = |mode| -> Value {
            serde_json::from_str::<Value>(&body(3, Some(mode))).unwrap()["query"].clone()
        };
        assert_eq!(query("dense"), query("hybrid"));
    }

    #[test]
    fn documents_are_lines_of_json() {
        let documents = documents(0..DOCUMENTS);
        assert_eq!(documents.lines().count(), DOCUMENTS);
        let first: Value = serde_json::from_str(documents.lines().next().unwrap()).unwrap();
        assert_eq!(first["id"], "document-0");
        assert!(first["text"].as_str().unwrap().split(' ').count() > WORDS_OF_A_DOCUMENT);
    }
}
