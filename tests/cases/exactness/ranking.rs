//! The ranking that a question must get: for each document the range that its score can be in.
//!
//! A range is wider than a rounding error only in hybrid rankings, where documents that are nearly
//! equal in one ranking may stand in either order, which moves the sum by a rank.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::oracle::{Collection, Document, bm25, counted};
use super::question::{Mode, Question};
use super::vectors::Vectors;
use super::words::terms;

/// How far a cosine may be from ours.
const COSINE_TOLERANCE: f64 = 1e-5;
/// How far a BM25 score may be from ours, for each unit of the score, and at least this.
const BM25_TOLERANCE: f64 = 1e-5;
/// How far the sum of two ranks' scores may be from ours. Ranks next to each other differ by more
/// than ten times this.
const FUSED_TOLERANCE: f64 = 1e-6;
/// How many of each ranking's best documents are fused.
const FUSED: usize = 200;
const RANK_CONSTANT: f64 = 60.0;

/// A document that can be found.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a str,
    pub(super) document: &'a Document,
    /// The lowest and the highest score that it can have; the lowest is negative infinity if it
    /// may be missing.
    pub(super) lowest: f64,
    pub(super) highest: f64,
    /// Documents that have this in common have the same score for certain, so their ids decide.
    pub(super) identity: Cow<'a, str>,
}

/// A document in one ranking.
#[derive(Clone)]
struct Scored<'a> {
    id: &'a str,
    document: &'a Document,
    score: f64,
    tolerance: f64,
    identity: Cow<'a, str>,
}

/// Everything that a question can find, before limit and offset, best first.
pub(super) fn candidates<'a>(
    question: &'a Question,
    collection: &'a Collection,
    vectors: &Vectors,
) -> Vec<Candidate<'a>> {
    let mut candidates = match question.mode {
        Mode::Dense => alone(&dense(question, collection, vectors)),
        Mode::Keyword => alone(&keyword(question, collection)),
        Mode::Hybrid => {
            let legs = [dense(question, collection, vectors), keyword(question, collection)];
            fused(&legs.map(|leg| ranks(&leg)))
        }
    };
    let by_score = |a: &Candidate, b: &Candidate| b.highest.total_cmp(&a.highest);
    candidates.sort_by(|a, b| by_score(a, b).then(a.id.cmp(b.id)));
    candidates
}

/// The documents that have a chunk and pass the filter.
fn found<'a>(
    question: &'a Question,
    collection: &'a Collection,
) -> impl Iterator<Item = (&'a str, &'a Document)> {
    let passes = |document: &Document| {
        question.filter.as_ref().is_none_or(|filter| filter.passes(&document.metadata))
    };
    let documents = collection.documents.iter();
    let documents = documents.filter(|(_, document)| document.text.chunks() > 0);
    documents
        .filter(move |(_, document)| passes(document))
        .map(|(id, document)| (id.as_str(), document))
}

fn dense<'a>(
    question: &'a Question,
    collection: &'a Collection,
    vectors: &Vectors,
) -> Vec<Scored<'a>> {
    let query = vectors.of(&question.query);
    let scored = |(id, document): (&'a str, &'a Document)| {
        let text = &document.text;
        let vector = text.vector.get_or_init(|| vectors.of(&text.text));
        let score = dot(&query, vector);
        let identity = Cow::from(&text.text);
        Scored { id, document, score, tolerance: COSINE_TOLERANCE, identity }
    };
    found(question, collection).map(scored).collect()
}

/// A plain loop, because tests are compiled without optimization.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (mut sum, mut index) = (0.0, 0);
    while index < a.len() {
        sum += f64::from(a[index]) * f64::from(b[index]);
        index += 1;
    }
    sum
}

fn keyword<'a>(question: &'a Question, collection: &'a Collection) -> Vec<Scored<'a>> {
    let query = counted(terms(&question.query));
    let scored = |(id, document): (&'a str, &'a Document)| {
        let text = &document.text;
        let score = bm25(&query, text, &collection.rolled);
        let counts: Vec<_> = query.keys().map(|term| text.count(term)).collect();
        let identity = Cow::from(format!("{counts:?} in {}", text.length()));
        Scored { id, document, score, tolerance: BM25_TOLERANCE * score.max(1.0), identity }
    };
    found(question, collection).map(scored).filter(|scored| scored.score > 0.0).collect()
}

fn alone<'a>(scored: &[Scored<'a>]) -> Vec<Candidate<'a>> {
    let candidate = |scored: &Scored<'a>| Candidate {
        id: scored.id,
        document: scored.document,
        lowest: scored.score - scored.tolerance,
        highest: scored.score + scored.tolerance,
        identity: scored.identity.clone(),
    };
    scored.iter().map(candidate).collect()
}

/// The best and the worst rank that a document can have in a ranking, from 1.
type Ranks<'a> = BTreeMap<&'a str, (&'a Document, usize, usize)>;

fn ranks<'a>(leg: &[Scored<'a>]) -> Ranks<'a> {
    let mut sorted = leg.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(b.id)));
    let mut ranks = Ranks::new();
    for (index, of) in sorted.iter().enumerate() {
        let near = |other: &&Scored| (other.score - of.score).abs() <= of.tolerance;
        let open = |other: &&Scored| other.identity != of.identity;
        let before = sorted[..index].iter().rev().take_while(near).filter(open).count();
        let after = sorted[index + 1..].iter().take_while(near).filter(open).count();
        ranks.insert(of.id, (of.document, index + 1 - before, index + 1 + after));
    }
    ranks
}

/// The sums of what the ranks in both rankings are worth.
fn fused<'a>(legs: &[Ranks<'a>; 2]) -> Vec<Candidate<'a>> {
    let worth = |rank: usize| match rank {
        1..=FUSED => 1.0 / (RANK_CONSTANT + rank as f64),
        _ => 0.0,
    };
    let mut sums: BTreeMap<&str, (&Document, f64, f64)> = BTreeMap::new();
    for (id, (document, best, worst)) in legs.iter().flatten() {
        let (_, lowest, highest) = sums.entry(id).or_insert((document, 0.0, 0.0));
        *lowest += worth(*worst);
        *highest += worth(*best);
    }
    let candidate = |(id, (document, lowest, highest))| Candidate {
        id,
        document,
        lowest: if lowest > 0.0 { lowest - FUSED_TOLERANCE } else { f64::NEG_INFINITY },
        highest: highest + FUSED_TOLERANCE,
        identity: Cow::from(&document.text.text),
    };
    let possible = sums.into_iter().filter(|(_, (_, _, highest))| *highest > 0.0);
    possible.map(candidate).collect()
}
