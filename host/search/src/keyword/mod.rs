//! Turns words into weighted terms (BM25), with collection statistics that are frozen for an
//! epoch.
//!
//! The host weighs terms, not the engine, and uses the statistics of the last *roll* rather
//! than of the live index. A score therefore changes only when an epoch rolls, and is the same
//! on every engine. Out of scope: languages other than English, and scripts without spaces
//! between words, whose runs of letters count as one word. Also out of scope: when an epoch rolls,
//! which the truth decides.

pub(crate) mod codec;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

// Generated from Snowball's current sources (tantivy uses it too). rust-stemmers has been
// inactive since 2021, and snowball_stemmers_rs is a copy of Snowball 3.0.0.
use frostem::{Algorithm, Stemmer};

use weir_core::Position;

pub use codec::DecodeError;

/// Identifies the behaviour of [`terms`]; an index made with another value is rebuilt. Change
/// it whenever a change can give a text other terms.
pub const ANALYSIS: &str = "alphanumeric, nltk-0.10, snowball-english-20261016, 64 bytes";

/// Longer runs of letters and digits are skipped: they are digests or encoded data, not words.
const MAX_WORD_BYTES: usize = 64;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The length that BM25 compares the lengths of chunks with, in terms. It takes the place of the
/// collection's average, so that what a chunk contributes depends on the chunk alone: it is the
/// same in every epoch, and is computed once. That costs almost nothing: on Cranfield, nDCG@10 of
/// the keyword leg is 0.5209, compared with 0.5215 with the average (and the dense leg's is
/// 0.5161, and 0.5632 fused).
pub const TYPICAL_TERMS: u32 = 80;

static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| stop_words::lookup("en").unwrap_or_default().iter().copied().collect());
static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::new(Algorithm::English));

/// The terms of `text` (lower-cased, stemmed, without stop words) and how often each occurs,
/// sorted by term.
#[must_use]
pub fn terms(text: &str) -> Vec<(Arc<str>, u32)> {
    let lowered = text.to_lowercase();
    let words = lowered
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| (1..=MAX_WORD_BYTES).contains(&word.len()) && !STOP_WORDS.contains(word));
    let mut counts = HashMap::new();
    for word in words {
        *counts.entry(STEMMER.stem(word)).or_insert(0_u32) += 1;
    }
    let mut terms: Vec<_> = counts.into_iter().map(|(term, n)| (Arc::from(term), n)).collect();
    terms.sort_unstable();
    terms
}

/// A term of a query, and what one occurrence of it adds to the score of a chunk of
/// [`TYPICAL_TERMS`] terms.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTerm {
    /// The term.
    pub term: Arc<str>,
    /// Its inverse document frequency times its number of occurrences in the query.
    pub weight: f32,
}

/// What BM25 needs to know about a collection, as of the last roll.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The position of the roll.
    pub epoch: Position,
    /// The number of chunks, which are BM25's documents.
    pub chunks: u64,
    /// How many chunks contain each term.
    pub document_frequency: HashMap<Arc<str>, u32>,
}

impl Statistics {
    /// Inverse document frequency. A term that did not occur at the roll counts as occurring in
    /// no chunk, since a new term is rare.
    #[must_use]
    pub fn inverse_document_frequency(&self, term: &str) -> f64 {
        let frequency = f64::from(self.document_frequency.get(term).copied().unwrap_or(0));
        (1.0 + (self.chunks as f64 - frequency + 0.5) / (frequency + 0.5)).ln()
    }

    /// The weights of a query's terms, in their order.
    #[must_use]
    pub fn weigh(&self, terms: &[(Arc<str>, u32)]) -> Vec<WeightedTerm> {
        let weigh = |(term, count): &(Arc<str>, u32)| WeightedTerm {
            term: Arc::clone(term),
            weight: (self.inverse_document_frequency(term) * f64::from(*count)) as f32,
        };
        terms.iter().map(weigh).collect()
    }
}

/// The factor for a term's weight in a chunk of `chunk_terms` terms, counting repetitions, in
/// which it occurs `count` times.
#[must_use]
pub fn saturation(count: u32, chunk_terms: u32) -> f32 {
    let relative_length = f64::from(chunk_terms) / f64::from(TYPICAL_TERMS);
    let count = f64::from(count);
    (count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative_length))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> String {
        let terms: Vec<_> = terms(text).iter().map(|(term, n)| format!("{term}:{n}")).collect();
        terms.join(" ")
    }

    #[test]
    fn texts_become_terms() {
        let sha256 = "0".repeat(64);
        let cases = [
            ("", ""),
            (" \n\t.,;", ""),
            ("The and of to be", ""),
            ("Don't you'll it's", ""),
            ("Wings, winged WINGS; wing!", "wing:4"),
            ("Vec<String>::push(value)", "push:1 string:1 valu:1 vec:1"),
            ("snake_case and x86-64", "64:1 case:1 snake:1 x86:1"),
            ("Ärger über Größe", "größe:1 ärger:1 über:1"),
            ("ΣΟΦΟΣ", "σοφος:1"),
            ("connection connected connections", "connect:3"),
        ];
        for (text, expected) in cases {
            assert_eq!(joined(text), expected, "{text}");
        }
        assert_eq!(joined(&sha256), format!("{sha256}:1"));
        assert_eq!(joined(&format!("{sha256}0 wing")), "wing:1");
    }

    /// Chunks "a a b", "b c", "c".
    fn statistics() -> Statistics {
        let document_frequency = [("a", 1), ("b", 2), ("c", 2)];
        Statistics {
            epoch: Position(3),
            chunks: 3,
            document_frequency: document_frequency.map(|(t, n)| (Arc::from(t), n)).into(),
        }
    }

    #[test]
    fn weights_match_those_computed_by_hand() {
        let statistics = statistics();
        // ln(1 + (3 - n + 0.5) / (n + 0.5))
        let idf = [("a", 0.980_829), ("b", 0.470_004), ("c", 0.470_004), ("new", 2.079_442)];
        for (term, expected) in idf {
            let actual = statistics.inverse_document_frequency(term);
            assert!((actual - expected).abs() < 1e-6, "{term}: {actual}");
        }
        // count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 80))
        let cases = [(2, 3, 1.885_377_6), (1, 80, 1.0), (1, 40, 1.257_142_9), (0, 2, 0.0)];
        for (count, length, expected) in cases {
            let actual = saturation(count, length);
            assert!((actual - expected).abs() < 1e-6, "{count} of {length}: {actual}");
        }
        let twice = statistics.weigh(&[("a".into(), 2)]);
        assert!((twice[0].weight - 2.0 * 0.980_829_3).abs() < 1e-6);
    }

    #[test]
    fn an_empty_collection_does_not_divide_by_zero() {
        let empty = Statistics::default();
        assert!(empty.inverse_document_frequency("a").is_finite());
    }
}
