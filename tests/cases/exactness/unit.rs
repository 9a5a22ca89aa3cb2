//! The oracle against numbers that were computed by hand, and the comparison against answers that
//! are slightly wrong. These need no server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::hits;
use super::oracle::{Change, Collection, Document, State, Statistics, Text, bm25, counted};
use super::question::{Mode, Question};
use super::ranking::candidates;
use super::vectors::Vectors;
use super::words::terms;

fn document(text: &str, metadata: Value) -> Document {
    Document { text: Arc::new(Text::new(text.to_owned())), metadata: Arc::new(metadata) }
}

fn put(documents: &[(&str, &str)]) -> Change {
    let one = |(id, text): &(&str, &str)| ((*id).to_owned(), document(text, json!({})));
    Change::Put(documents.iter().map(one).collect())
}

/// The collection `c` after these commits, which get the positions from 1 on.
fn after(changes: &[Change]) -> Collection {
    let mut state = State::default();
    for (position, change) in (1..).zip(changes) {
        state.apply(position, "c", change).unwrap();
    }
    state.collections.remove("c").unwrap()
}

fn question(query: &str, mode: Mode) -> Question {
    let collections = vec!["c".to_owned()];
    Question { collections, query: query.to_owned(), mode, filter: None, limit: 10, offset: 0 }
}

/// The vectors of `texts`, of which the first is the query.
fn vectors(texts: &[(&str, [f32; 2])]) -> Vectors {
    let vectors = Vectors::default();
    for (text, vector) in texts {
        vectors.insert(text, vector);
    }
    vectors
}

fn hit(id: &str, score: f64, text: &str) -> Value {
    json!({ "document_id": id, "score": score, "text": text, "start": 0, "end": text.len(),
            "metadata": {} })
}

#[track_caller]
fn near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-9, "{actual} instead of {expected}");
}

/// ln(1 + 2.5 / 1.5) · 2 · 2.2 / (2 + 1.2 · (0.25 + 0.75 · 4 / 80))
const KOBO: f64 = 1.840_361_924_628;
/// ln(1 + 1.5 / 2.5) · 2.2 / (1 + 1.2 · (0.25 + 0.75 · 2 / 80))
const FIMBO: f64 = 0.781_858_589_293;
/// ln(1 + 3.5 / 0.5) · 2.2 / (1 + 1.2 · (0.25 + 0.75 · 2 / 80))
const ABSENT: f64 = 3.459_184_417_161;

#[test]
fn bm25_is_what_was_computed_by_hand() {
    let of = |query: &str, text: &str, statistics: &Statistics| {
        bm25(&counted(terms(query)), &Text::new(text.to_owned()), statistics)
    };
    let three = [("a", "kobo kobo zarko fimbo"), ("b", "fimbo zarko"), ("c", "limok")];
    let statistics = after(&[Change::Create, put(&three)]).rolled;
    assert_eq!((statistics.chunks, statistics.with("kobo"), statistics.with("fimbo")), (3, 1, 2));
    near(of("kobo", three[0].1, &statistics), KOBO);
    near(of("Kobo, KOBO!", three[0].1, &statistics), 2.0 * KOBO);
    near(of("fimbo", three[1].1, &statistics), FIMBO);
    near(of("absento", "absento zarko", &statistics), ABSENT);
    near(of("absento", three[0].1, &statistics), 0.0);
    near(of("fimbo absento", "fimbo absento", &statistics), FIMBO + ABSENT);
}

#[test]
fn a_roll_takes_more_than_a_tenth_of_the_chunks() {
    let many = |from: usize, count: usize| {
        let one = |n: usize| (format!("d{n:03}"), document("kobo", json!({ "n": n })));
        Change::Put((from..from + count).map(one).collect())
    };
    // While there were fewer than 128 at the last roll, each commit is one.
    let mut changes = vec![Change::Create, many(0, 127)];
    assert_eq!(after(&changes).rolled.chunks, 127);
    changes.push(many(127, 13));
    assert_eq!(after(&changes).rolled.chunks, 140);
    // 14 of 140 are a tenth, and the 15th is more.
    changes.push(many(140, 13));
    changes.push(Change::Delete("d000".to_owned()));
    assert_eq!(after(&changes).rolled.chunks, 140);
    changes.push(put(&[("empty", "")]));
    assert_eq!(after(&changes).rolled.chunks, 140);
    changes.push(Change::Delete("d001".to_owned()));
    assert_eq!(after(&changes).rolled.chunks, 151);
    // A new version of the metadata removes a chunk and adds one; the same document does not.
    for _ in 0..7 {
        changes.push(Change::Put(vec![("d002".to_owned(), document("kobo", json!({ "n": 0 })))]));
    }
    assert_eq!(after(&changes).rolled.with("limok"), 0);
    changes.push(Change::Put(
        (3..9).map(|n| (format!("d00{n}"), document("limok", json!({})))).collect(),
    ));
    assert_eq!(after(&changes).rolled.with("limok"), 0, "2 + 12 of 151");
    changes.push(put(&[("d010", "limok")]));
    assert_eq!(after(&changes).rolled.with("limok"), 7, "16 of 151");
    // A new collection knows nothing of the old one.
    changes.extend([Change::Drop, Change::Create]);
    let collection = after(&changes);
    assert_eq!((collection.rolled.chunks, collection.rolled.with("kobo")), (0, 0));
}

#[test]
fn an_impossible_log_is_refused() {
    for changes in [
        vec![Change::Drop],
        vec![put(&[("a", "kobo")])],
        vec![Change::Create, Change::Create],
        vec![Change::Create, Change::Delete("a".to_owned())],
        vec![Change::Create, Change::Drop, put(&[("a", "kobo")])],
    ] {
        let mut state = State::default();
        let (last, others) = changes.split_last().unwrap();
        for change in others {
            state.apply(1, "c", change).unwrap();
        }
        state.apply(2, "c", last).unwrap_err();
    }
}

#[test]
fn fusion_adds_what_the_ranks_are_worth() {
    let texts = [("a", "zarko"), ("b", "kobo zarko"), ("c", "kobo kobo"), ("empty", "")];
    let collection = after(&[Change::Create, put(&texts)]);
    // Dense: a, b, c. Keyword: c, b.
    let vectors = vectors(&[
        ("kobo", [1.0, 0.0]),
        ("zarko", [1.0, 0.0]),
        ("kobo zarko", [0.8, 0.6]),
        ("kobo kobo", [0.6, 0.8]),
    ]);
    let question = question("kobo", Mode::Hybrid);
    let expected = candidates(&question, &collection, &vectors);
    let sums: BTreeMap<_, _> =
        expected.iter().map(|c| (c.id, (c.lowest + c.highest) / 2.0)).collect();
    assert_eq!(sums.len(), 3);
    near(sums["a"], 1.0 / 61.0);
    near(sums["b"], 1.0 / 62.0 + 1.0 / 62.0);
    near(sums["c"], 1.0 / 63.0 + 1.0 / 61.0);
    let right = json!([
        hit("c", 0.032_266_458, "kobo kobo"),
        hit("b", 0.032_258_064, "kobo zarko"),
        hit("a", 0.016_393_442, "zarko"),
    ]);
    hits::check(&question, &expected, &right).unwrap();
    let ranks_from_0 = json!([
        hit("b", 0.032_786_885, "kobo zarko"),
        hit("c", 0.032_795_699, "kobo kobo"),
        hit("a", 0.016_666_667, "zarko"),
    ]);
    hits::check(&question, &expected, &ranks_from_0).unwrap_err();
}

#[test]
fn nearly_equal_cosines_may_change_places_in_a_fusion() {
    let texts = [("a", "zarko"), ("b", "fimbo"), ("c", "limok")];
    let collection = after(&[Change::Create, put(&texts)]);
    let vectors = vectors(&[
        ("kobo", [1.0, 0.0]),
        ("zarko", [0.900_001, 0.4]),
        ("fimbo", [0.9, 0.4]),
        ("limok", [0.5, 0.8]),
    ]);
    let question = question("kobo", Mode::Hybrid);
    let expected = candidates(&question, &collection, &vectors);
    let ranked = |ids: [(&str, &str); 3]| -> Value {
        let worth =
            |(rank, (id, text)): (u32, (&str, &str))| hit(id, 1.0 / f64::from(60 + rank), text);
        (1..).zip(ids).map(worth).collect()
    };
    let [a, b, c] = texts;
    hits::check(&question, &expected, &ranked([a, b, c])).unwrap();
    hits::check(&question, &expected, &ranked([b, a, c])).unwrap();
    hits::check(&question, &expected, &ranked([a, c, b])).unwrap_err();
}

#[test]
fn a_slightly_wrong_answer_is_wrong() {
    let texts = [("a", "zarko"), ("b", "fimbo"), ("c", "limok"), ("d", "limok"), ("e", "?")];
    let collection = after(&[Change::Create, put(&texts)]);
    let vectors = vectors(&[
        ("kobo", [1.0, 0.0]),
        ("zarko", [0.9, 0.4]),
        ("fimbo", [0.8, 0.6]),
        ("limok", [0.7, 0.7]),
    ]);
    let mut question = question("kobo", Mode::Dense);
    let [a, b] = [hit("a", 0.9, "zarko"), hit("b", 0.8, "fimbo")];
    let [c, d] = [hit("c", 0.7, "limok"), hit("d", 0.7, "limok")];
    let check = |question: &Question, answer: &[&Value]| {
        let expected = candidates(question, &collection, &vectors);
        hits::check(question, &expected, &answer.iter().copied().cloned().collect())
    };
    check(&question, &[&a, &b, &c, &d]).unwrap();
    let with = |member: &str, value: Value| {
        let mut hit = b.clone();
        hit[member] = value;
        hit
    };
    for wrong in [
        vec![&a, &b, &c],
        vec![&a, &b, &d, &c],
        vec![&b, &a, &c, &d],
        vec![&a, &b, &c, &c],
        vec![&a, &b, &c, &hit("e", 0.7, "?")],
        vec![&a, &b, &c, &hit("gone", 0.7, "limok")],
        vec![&a, &with("score", json!(0.801)), &c, &d],
        vec![&a, &with("text", json!("zarko")), &c, &d],
        vec![&a, &with("metadata", json!({ "n": 1 })), &c, &d],
        vec![&a, &with("end", json!(4)), &c, &d],
    ] {
        check(&question, &wrong).unwrap_err();
    }
    question.limit = 3;
    check(&question, &[&a, &b, &c]).unwrap();
    check(&question, &[&a, &b, &d]).expect_err("the id decides what the limit cuts off");
    check(&question, &[&b, &c, &d]).unwrap_err();
    question.offset = 1;
    check(&question, &[&b, &c, &d]).unwrap();
    check(&question, &[&a, &b, &c]).unwrap_err();
    question.offset = 4;
    check(&question, &[]).unwrap();
}
