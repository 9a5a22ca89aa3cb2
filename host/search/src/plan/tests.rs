//! Fusion, paging and refusals, with fixed answers from the legs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::Content;
use crate::filter::{Condition, Filter, Predicate};
use weir_core::Position;
use weir_core::name::DocumentId;

/// Legs that return fixed answers and record the depth that they are asked for.
#[derive(Default)]
struct Given {
    dense: Vec<Hit>,
    keyword: Vec<Hit>,
    statistics: Statistics,
    depths: RefCell<Vec<usize>>,
}

impl Given {
    fn first<'a>(&self, hits: &'a [Hit], depth: usize) -> Found<'a, Self> {
        self.depths.borrow_mut().push(depth);
        let candidate = |of: &'a Hit| {
            let Hit { document, chunk, score, .. } = of;
            Candidate { score: *score, document, chunk: *chunk, of }
        };
        hits.iter().take(depth).map(candidate).collect()
    }
}

impl Legs for Given {
    type Of<'a> = &'a Hit;

    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn dense(&self, _: &[f32], scope: Scope<'_>) -> Result<Found<'_, Self>, VectorError> {
        Ok(self.first(&self.dense, scope.depth))
    }

    fn keyword(
        &self,
        terms: &[WeightedTerm],
        scope: Scope<'_>,
    ) -> Result<Found<'_, Self>, VectorError> {
        let hits = if terms.is_empty() { &[] } else { &*self.keyword };
        Ok(self.first(hits, scope.depth))
    }

    fn hit(candidate: Candidate<'_, &Hit>) -> Hit {
        Hit { score: candidate.score, ..candidate.of.clone() }
    }
}

fn hit(document: &str, chunk: u32, score: f32) -> Hit {
    let document = DocumentId::new(document).unwrap();
    let content = Content::new("x".into(), "{}".into()).unwrap().into();
    Hit { document, version: Position(1), chunk, score, start: 0, end: 1, content }
}

fn query() -> Query {
    Query {
        nearest: Some(Embedding(vec![1.0, 0.0].into())),
        text: Some("wings".into()),
        filter: None,
        minimum_score: None,
        unit: Unit::Document,
        limit: 10,
        offset: 0,
    }
}

fn found(legs: &Given, query: Query) -> Vec<(String, u32, f32)> {
    let budget = Budget::new(0, Instant::now(), CancellationToken::new());
    let hits = answer(&Plan::new(query, 2).unwrap(), legs, &budget).unwrap();
    hits.into_iter().map(|hit| (hit.document.to_string(), hit.chunk, hit.score)).collect()
}

fn both() -> Given {
    Given {
        dense: vec![hit("a", 0, 0.9), hit("b", 1, 0.8), hit("c", 0, 0.7)],
        keyword: vec![hit("c", 5, 9.0), hit("d", 2, 8.0), hit("a", 7, 7.0)],
        ..Given::default()
    }
}

#[test]
fn fused_scores_match_those_computed_by_hand() {
    // a is first and third, c third and first; b and d are second once.
    let (two, one) = ((1.0 / 61.0 + 1.0 / 63.0_f64) as f32, 1.0 / 62.0);
    let documents = found(&both(), query());
    let expected = [("a", 0, two), ("c", 0, two), ("b", 1, one), ("d", 2, one)]
        .map(|(d, n, s)| (d.into(), n, s));
    assert_eq!(documents, expected, "ties by id, the dense leg's chunk before the keyword leg's");

    let chunks = found(&both(), Query { unit: Unit::Chunk, ..query() });
    let order: Vec<_> = chunks.iter().map(|(d, n, _)| (d.as_str(), *n)).collect();
    assert_eq!(order, [("a", 0), ("c", 5), ("b", 1), ("d", 2), ("a", 7), ("c", 0)]);
}

#[test]
fn paging_and_minimum_scores_apply_after_fusion() {
    let dense_only = |query: Query| Query { text: None, ..query };
    let cases = [
        (query(), "acbd"),
        (Query { limit: 2, ..query() }, "ac"),
        (Query { limit: 2, offset: 1, ..query() }, "cb"),
        (Query { offset: 4, ..query() }, ""),
        (Query { limit: 0, ..query() }, ""),
        (Query { minimum_score: Some(0.02), ..query() }, "ac"),
        (Query { minimum_score: Some(0.02), offset: 1, ..query() }, "c"),
        (Query { minimum_score: Some(1.0), ..query() }, ""),
        (dense_only(query()), "abc"),
        (dense_only(Query { minimum_score: Some(0.8), ..query() }), "ab"),
        (Query { nearest: None, ..query() }, "cda"),
        (Query { nearest: None, text: Some("the of and".into()), ..query() }, ""),
        (Query { nearest: None, text: Some(String::new()), ..query() }, ""),
        (Query { text: Some("the of and".into()), ..query() }, "abc"),
    ];
    for (query, expected) in cases {
        let description = format!("{query:?}");
        let order: String = found(&both(), query).into_iter().map(|(id, _, _)| id).collect();
        assert_eq!(order, expected, "{description}");
    }
}

#[test]
fn legs_are_asked_as_deep_as_needed() {
    let cases = [
        (Query { text: None, limit: 7, offset: 3, ..query() }, vec![10]),
        (Query { nearest: None, limit: 7, offset: 3, ..query() }, vec![10]),
        (Query { limit: 7, offset: 3, ..query() }, vec![200, 200]),
        (Query { limit: 7, offset: 300, ..query() }, vec![200, 200]),
        (Query { limit: 1, offset: 9_999, ..query() }, vec![200, 200]),
        (Query { text: None, limit: 1, offset: 9_999, ..query() }, vec![10_000]),
    ];
    for (query, expected) in cases {
        let legs = both();
        found(&legs, query);
        assert_eq!(legs.depths.into_inner(), expected);
    }
}

#[test]
fn the_pages_of_a_fused_answer_are_parts_of_one_ranking() {
    let leg = |name: &str| {
        let hit = |n: u16| hit(&format!("{name}{n:03}"), 0, 1.0 - f32::from(n) / 1_000.0);
        (0..300).map(hit).collect()
    };
    let legs = Given { dense: leg("d"), keyword: leg("k"), ..Given::default() };
    let page = |offset, limit| found(&legs, Query { offset, limit, ..query() });
    let all = page(0, MAX_DEPTH);
    assert_eq!(all.len(), 2 * FUSION_DEPTH);
    let pages: Vec<_> = (0..45).flat_map(|n| page(n * 10, 10)).collect();
    assert_eq!(pages, all);
}

#[test]
fn invalid_queries_are_refused() {
    let nearest = |vector: &[f32]| Some(Embedding(vector.into()));
    let words: Vec<_> = (0..=MAX_QUERY_TERMS).map(|n| format!("w{n}")).collect();
    let condition = Condition { field: String::new(), predicate: Predicate::Exists };
    let filter = Filter { must: vec![condition], ..Filter::default() };
    let cases = [
        (Query { nearest: None, text: None, ..query() }, "needs a vector"),
        (Query { nearest: nearest(&[1.0]), ..query() }, "1 components"),
        (Query { nearest: nearest(&[1.0, f32::NAN]), ..query() }, "finite"),
        (Query { nearest: nearest(&[1.0, f32::INFINITY]), ..query() }, "finite"),
        (Query { minimum_score: Some(f32::NAN), ..query() }, "minimum score"),
        (Query { limit: MAX_DEPTH, offset: 1, ..query() }, "10000"),
        (Query { limit: u32::MAX, offset: u32::MAX, ..query() }, "10000"),
        (Query { text: Some(words.join(" ")), ..query() }, "different words"),
        (Query { filter: Some(filter), ..query() }, "field"),
    ];
    for (query, expected) in cases {
        match Plan::new(query, 2) {
            Err(VectorError::InvalidQuery(message)) => {
                assert!(message.contains(expected), "{message}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}
