//! The store, compared with a naive model and with hand-computed answers, and reloaded from its
//! file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cranfield;
mod durability;
mod model;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::filter::{Condition, Filter, Predicate, Value};
use crate::{Content, Hit, IndexedChunk, Unit, keyword};
use weir_core::name::{DocumentId, Name};
use weir_embedding::Embedding;

const DIMENSIONS: usize = 3;
const WORDS: [&str; 6] = ["wing", "flap", "rudder", "nose", "tail", "slat"];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

fn chunk(text: &str, vector: [f32; DIMENSIONS]) -> IndexedChunk {
    let embedding = Embedding(vector.into());
    IndexedChunk { start: 0, end: text.len() as u32, embedding, terms: keyword::terms(text) }
}

/// A text that contains the range of every chunk, and `metadata`.
fn content(metadata: serde_json::Value) -> Arc<Content> {
    let text = "x".repeat(200);
    Content::new(text.into(), metadata.to_string().into()).unwrap().into()
}

fn put(document: &str, version: u64, chunks: Vec<IndexedChunk>) -> IndexChange {
    IndexChange::Put {
        collection: name("c"),
        document: id(document),
        version: Position(version),
        content: content(json!({})),
        chunks,
    }
}

/// A document of one chunk.
fn put_text(document: &str, version: u64, text: &str) -> IndexChange {
    put(document, version, vec![chunk(text, [1.0, 0.0, 0.0])])
}

fn delete(document: &str) -> IndexChange {
    IndexChange::Delete { collection: name("c"), document: id(document) }
}

fn query() -> Query {
    Query {
        collection: name("c"),
        nearest: None,
        text: None,
        filter: None,
        minimum_score: None,
        unit: Unit::Document,
        limit: 100,
        offset: 0,
    }
}

fn nearest(vector: [f32; DIMENSIONS]) -> Query {
    Query { nearest: Some(Embedding(vector.into())), ..query() }
}

fn words(text: &str) -> Query {
    Query { text: Some(text.into()), ..query() }
}

async fn hits(store: &ExactStore, query: Query) -> Vec<Hit> {
    store.search(query).await.unwrap().hits
}

fn scores(hits: &[Hit]) -> Vec<(&str, f32)> {
    hits.iter().map(|hit| (hit.document.as_str(), hit.score)).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn any_chunk() -> impl Strategy<Value = IndexedChunk> {
    // Few values, so that scores tie.
    let vector = prop::array::uniform3((-1_i8..=1).prop_map(f32::from));
    let text = vec(prop::sample::select(&WORDS[..]), 0..5).prop_map(|words| words.join(" "));
    (text, vector).prop_map(|(text, vector)| chunk(&text, vector))
}

fn any_change(version: u64) -> impl Strategy<Value = IndexChange> {
    let collection = || prop::sample::select(vec![name("c"), name("other")]);
    let document = || (0..9).prop_map(|n| id(&format!("d{n}")));
    let put = (collection(), document(), 0..4, vec(any_chunk(), 0..4)).prop_map(
        move |(collection, document, n, chunks)| IndexChange::Put {
            collection,
            document,
            version: Position(version),
            content: content(json!({"n": n, "tags": [n, "x"]})),
            chunks,
        },
    );
    let delete = (collection(), document())
        .prop_map(|(collection, document)| IndexChange::Delete { collection, document });
    prop_oneof![
        12 => put,
        5 => delete,
        1 => collection().prop_map(IndexChange::CreateCollection),
        1 => collection().prop_map(IndexChange::DropCollection),
    ]
}

/// Five batches. The first is large in about half of the cases, so that epochs last.
fn any_batches() -> impl Strategy<Value = Vec<Vec<IndexChange>>> {
    let first = option::of(vec(any_chunk(), 110..150)).prop_map(|chunks| {
        let numbered = chunks.into_iter().flatten().zip(0..);
        numbered.map(|(chunk, n)| put(&format!("base{n}"), 1, vec![chunk])).collect()
    });
    let batch = |number| vec(any_change(number), 0..8);
    (first, batch(2), batch(3), batch(4), batch(5)).prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

fn any_query() -> impl Strategy<Value = Query> {
    let vector = prop::array::uniform3(-1.0_f32..1.0);
    let text = vec(prop::sample::select(&WORDS[..]), 0..4).prop_map(|words| words.join(" "));
    let condition = (0..4_i64).prop_map(|n| Condition {
        field: "n".into(),
        predicate: Predicate::Equals(Value::Integer(n)),
    });
    let filter = vec(condition, 1..3).prop_map(|should| Filter { should, ..Filter::default() });
    let unit = prop::sample::select(vec![Unit::Document, Unit::Chunk]);
    let parts = (option::of(vector), option::of(text), option::of(filter), unit);
    (parts, option::of(-0.5_f32..0.5), 0..30_u32, 0..5_u32).prop_map(
        |((nearest, text, filter, unit), minimum_score, limit, offset)| Query {
            nearest: nearest.map(|vector| Embedding(vector.into())),
            text,
            filter,
            unit,
            minimum_score,
            limit,
            offset,
            ..query()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_answers_like_the_model(batches in any_batches(), queries in vec(any_query(), 6)) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let open = || ExactStore::open(folder.path(), "model", DIMENSIONS);
            let (stored, in_memory) = (open().await.unwrap(), ExactStore::in_memory(DIMENSIONS));
            let mut model = model::Model::default();
            for (batch, position) in batches.into_iter().zip(1..).map(|(b, n)| (b, Position(n))) {
                stored.apply(batch.clone(), position).await.unwrap();
                in_memory.apply(batch.clone(), position).await.unwrap();
                in_memory.apply(batch.clone(), position).await.unwrap();
                model.apply(batch, position);
                for query in &queries {
                    let expected = model.search(query.clone(), DIMENSIONS);
                    let answer = |page: Result<Page, _>| page.map(|page| page.hits);
                    prop_assert_eq!(&answer(stored.search(query.clone()).await), &expected);
                    prop_assert_eq!(&answer(in_memory.search(query.clone()).await), &expected);
                }
            }
            drop(stored);
            let reopened = open().await.unwrap();
            prop_assert_eq!(reopened.applied(), in_memory.applied());
            for query in queries {
                let expected = model.search(query.clone(), DIMENSIONS);
                prop_assert_eq!(reopened.search(query).await.map(|page| page.hits), expected);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn bm25_scores_match_those_computed_by_hand() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let texts = [("x", "wing wing flap"), ("y", "flap rudder"), ("z", "rudder")];
    let changes = texts.map(|(document, text)| put_text(document, 1, text));
    store.apply(changes.into(), Position(1)).await.unwrap();
    // keyword.rs computes the factors: the weight of each term, times its saturation.
    let (wing, flap, rudder) = (0.980_829_3, 0.470_003_6, 0.470_003_6);
    let flap_in_x = 1.0 * 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * 3.0 / 2.0));
    let cases = [
        ("wings", vec![("x", wing * 1.205_479_5)]),
        ("rudder", vec![("z", rudder * 1.257_142_9), ("y", rudder)]),
        ("the flap of wings", vec![("x", wing * 1.205_479_5 + flap * flap_in_x), ("y", flap)]),
        ("wing wing", vec![("x", 2.0 * wing * 1.205_479_5)]),
        ("nothing like it", vec![]),
        ("and the of", vec![]),
    ];
    for (text, expected) in cases {
        let found = hits(&store, words(text)).await;
        assert_eq!(found.len(), expected.len(), "{text}");
        for ((id, score), (expected_id, expected_score)) in scores(&found).iter().zip(&expected) {
            assert_eq!(id, expected_id, "{text}");
            assert!((score - expected_score).abs() < 1e-5, "{text}: {score} {expected_score}");
        }
    }
}

#[tokio::test]
async fn ties_are_ordered_by_document_then_chunk() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let same = || vec![chunk("wing", [1.0, 0.0, 0.0]); 3];
    let changes = ["b", "a", "c", "B"].map(|document| put(document, 1, same()));
    store.apply(changes.into(), Position(1)).await.unwrap();
    let order = |hits: Vec<Hit>| -> Vec<String> {
        hits.iter().map(|hit| format!("{}{}", hit.document, hit.chunk)).collect()
    };
    let asked = [nearest([1.0, 0.0, 0.0]), words("wing")];
    for query in asked {
        assert_eq!(order(hits(&store, query.clone()).await), ["B0", "a0", "b0", "c0"]);
        let chunks = Query { unit: Unit::Chunk, limit: 5, offset: 1, ..query };
        assert_eq!(order(hits(&store, chunks).await), ["B1", "B2", "a0", "a1", "a2"]);
    }
}

#[tokio::test]
async fn scores_stay_within_an_epoch_and_move_when_it_rolls() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let base = (0..200).map(|n| put_text(&format!("base{n:03}"), 1, "wing flap")).collect();
    store.apply(base, Position(1)).await.unwrap();
    let score = async || hits(&store, words("wing")).await[0].score;
    let at_first = score().await;
    for n in 0..20 {
        let change = put_text(&format!("new{n}"), 2 + n, "wing tail tail");
        store.apply(vec![change], Position(2 + n)).await.unwrap();
        assert_eq!(score().await, at_first, "{n} of 20");
    }
    store.apply(vec![put_text("last", 40, "wing")], Position(40)).await.unwrap();
    assert_ne!(score().await, at_first);
}

#[tokio::test]
async fn collections_come_and_go() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let unknown = Err(VectorError::UnknownCollection(name("c")));
    let found = async || store.search(words("wing")).await.map(|page| page.hits.len());
    let create = IndexChange::CreateCollection(name("c"));
    let drop = IndexChange::DropCollection(name("c"));
    let wing = || put_text("a", 1, "wing");
    let steps = [
        (vec![], unknown.clone()),
        (vec![delete("a")], unknown.clone()),
        (vec![create.clone()], Ok(0)),
        (vec![create.clone(), wing()], Ok(1)),
        (vec![create.clone()], Ok(1)),
        (vec![drop.clone()], unknown.clone()),
        (vec![drop.clone()], unknown.clone()),
        (vec![create.clone(), wing(), drop.clone()], unknown),
        (vec![wing(), drop.clone(), create.clone()], Ok(0)),
        (vec![wing()], Ok(1)),
        (vec![drop, create, put_text("b", 1, "wing"), delete("a")], Ok(1)),
        (vec![put("b", 2, vec![])], Ok(0)),
    ];
    for ((changes, expected), position) in steps.into_iter().zip(1..) {
        store.apply(changes, Position(position)).await.unwrap();
        assert_eq!(found().await, expected, "after step {position}");
        assert_eq!(store.applied(), Position(position));
    }
}

#[tokio::test]
async fn applying_a_batch_again_or_late_changes_nothing() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let first = vec![put_text("a", 1, "wing"), put_text("b", 1, "wing flap")];
    let second = vec![put_text("a", 2, "rudder"), delete("b")];
    store.apply(first.clone(), Position(1)).await.unwrap();
    store.apply(second.clone(), Position(2)).await.unwrap();
    let expected = hits(&store, nearest([1.0, 0.0, 0.0])).await;
    for (batch, position) in [(second, 2), (first, 1)] {
        store.apply(batch, Position(position)).await.unwrap();
        assert_eq!(hits(&store, nearest([1.0, 0.0, 0.0])).await, expected);
        assert_eq!(store.applied(), Position(2));
    }
}

#[tokio::test]
async fn an_invalid_batch_is_refused_as_a_whole() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let with = |embedding: &[f32], terms: &[&str]| {
        let terms = terms.iter().map(|term| (Arc::from(*term), 1)).collect();
        IndexedChunk { start: 0, end: 1, embedding: Embedding(embedding.into()), terms }
    };
    let bad = [
        with(&[1.0], &[]),
        with(&[1.0, f32::NAN, 0.0], &[]),
        with(&[1.0, 0.0, 0.0], &["b", "a"]),
        with(&[1.0, 0.0, 0.0], &["a", "a"]),
    ];
    for chunk in bad {
        let changes = vec![put_text("a", 1, "wing"), put("b", 1, vec![chunk])];
        let refused = store.apply(changes, Position(1)).await;
        assert!(matches!(refused, Err(VectorError::Failed(_))), "{refused:?}");
        assert_eq!(store.applied(), Position::ZERO);
        assert!(store.search(words("wing")).await.is_err());
    }
}

#[tokio::test]
async fn large_collections_are_searched_off_the_async_threads() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let change =
        |n: u16| put(&format!("d{n:04}"), 1, vec![chunk("wing", [f32::from(n), 0.0, 0.0])]);
    store.apply((0..2_500).map(change).collect(), Position(1)).await.unwrap();
    let best = hits(&store, Query { limit: 2, offset: 1, ..nearest([1.0, 0.0, 0.0]) }).await;
    assert_eq!(scores(&best), [("d2498", 2_498.0), ("d2497", 2_497.0)]);
    let unknown = Query { collection: name("other"), ..words("wing") };
    assert!(store.search(unknown).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_sees_one_position() {
    let store = Arc::new(ExactStore::in_memory(DIMENSIONS));
    let change = |n| vec![put_text("a", n, "wing"), put_text("b", n, "wing")];
    store.apply(change(1), Position(1)).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 2..=500 {
                store.apply(change(n), Position(n)).await.unwrap();
            }
        })
    };
    loop {
        let ended = writer.is_finished();
        let before = store.applied();
        let page = store.search(words("wing")).await.unwrap();
        assert!(before <= page.as_of);
        assert!(page.hits.len() == 2 && page.hits.iter().all(|hit| hit.version == page.as_of));
        if ended {
            break assert_eq!(page.as_of, Position(500));
        }
    }
    writer.await.unwrap();
}
