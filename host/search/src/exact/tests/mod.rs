//! The store, compared with a naive model and with hand-computed answers, and reloaded from its
//! file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cost;
mod cranfield;
mod durability;
mod model;
mod random;

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::budget::Budget;
use crate::filter::{Condition, Filter, Predicate, Value};
use crate::keyword::{self, Statistics};
use crate::testing::account;
use crate::{Base, Content, Epoch, Hit, IndexedChunk, IndexedDocument, Query, Unit};
use weir_core::name::DocumentId;
use weir_core::{Chain, Position};
use weir_embedding::Embedding;

const DIMENSIONS: usize = 3;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

fn commit(position: u64) -> Commit {
    Commit { position: Position(position), chain: Chain(u32::MAX - position as u32) }
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

type Change = (DocumentId, Option<IndexedDocument>);

fn put(document: &str, version: u64, chunks: Vec<IndexedChunk>) -> Change {
    let version = Position(version);
    (id(document), Some(IndexedDocument { version, content: content(json!({})), chunks }))
}

/// A document of one chunk.
fn put_text(document: &str, version: u64, text: &str) -> Change {
    put(document, version, vec![chunk(text, [1.0, 0.0, 0.0])])
}

fn delete(document: &str) -> Change {
    (id(document), None)
}

/// A page of the collection `c` that rolls.
fn page(position: u64, documents: Vec<Change>) -> IndexPage {
    IndexPage {
        collection: name("c"),
        up_to: commit(position),
        base: Base::Kept,
        documents,
        epoch: Epoch::Rolled,
    }
}

fn gone(position: u64) -> IndexPage {
    IndexPage { base: Base::Gone, epoch: Epoch::Kept, ..page(position, vec![]) }
}

fn query() -> Query {
    Query {
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

async fn open(folder: &Path) -> ExactStore {
    ExactStore::open(folder, "truth", "model", DIMENSIONS).await.unwrap()
}

/// The current state of the collection `c`.
fn current(store: &ExactStore) -> Option<Arc<dyn Snapshot>> {
    store.stored().get(&name("c")).and_then(|stored| stored.snapshot.clone())
}

async fn hits(store: &ExactStore, query: Query) -> Vec<Hit> {
    search(&*current(store).unwrap(), query).await.unwrap()
}

/// A search that may take as long as it takes.
async fn search(snapshot: &dyn Snapshot, query: Query) -> Result<Vec<Hit>, VectorError> {
    snapshot.search(query, later(), &account()).await
}

fn later() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

fn unlimited() -> Budget {
    Budget::new(u64::MAX, later(), CancellationToken::new())
}

fn last(store: &ExactStore) -> Option<Commit> {
    store.stored().get(&name("c")).map(|stored| stored.last)
}

fn scores(hits: &[Hit]) -> Vec<(&str, f32)> {
    hits.iter().map(|hit| (hit.document.as_str(), hit.score)).collect()
}

#[tokio::test]
async fn bm25_scores_match_those_computed_by_hand() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let texts = [("x", "wing wing flap"), ("y", "flap rudder"), ("z", "rudder")];
    let changes = texts.map(|(document, text)| put_text(document, 1, text));
    store.apply(page(1, changes.into())).await.unwrap();
    // The keyword module's tests compute the factors: a term's weight, times its saturation.
    let (wing, flap, rudder) = (0.980_829_3, 0.470_003_6, 0.470_003_6);
    let once_in = |length: f32| 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * length / 80.0));
    let cases = [
        ("wings", vec![("x", wing * 1.885_377_6)]),
        ("rudder", vec![("z", rudder * once_in(1.0)), ("y", rudder * once_in(2.0))]),
        (
            "the flap of wings",
            vec![("x", wing * 1.885_377_6 + flap * once_in(3.0)), ("y", flap * once_in(2.0))],
        ),
        ("wing wing", vec![("x", 2.0 * wing * 1.885_377_6)]),
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
    store.apply(page(1, changes.into())).await.unwrap();
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
    store.apply(page(1, vec![put_text("a", 1, "wing flap")])).await.unwrap();
    let score = async || hits(&store, words("wing")).await[0].score;
    let at_first = score().await;
    for n in 2..20 {
        let changes = vec![put_text(&format!("new{n}"), n, "wing tail tail tail")];
        let kept = IndexPage { epoch: Epoch::Kept, ..page(n, changes) };
        let snapshot = store.apply(kept).await.unwrap().unwrap();
        assert_eq!(score().await, at_first, "after {n}");
        assert_eq!(snapshot.statistics().epoch, Position(1));
    }
    let snapshot = store.apply(page(20, vec![])).await.unwrap().unwrap();
    assert_ne!(score().await, at_first);
    assert_eq!((snapshot.statistics().epoch, snapshot.statistics().chunks), (Position(20), 19));
}

#[tokio::test]
async fn collections_come_and_go() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let wing = |document| vec![put_text(document, 1, "wing")];
    let kept = |documents| IndexPage { epoch: Epoch::Kept, ..page(0, documents) };
    let empty = |documents| IndexPage { base: Base::Empty, ..page(0, documents) };
    let steps = [
        (gone(0), None),
        (kept(vec![delete("a")]), Some(0)),
        (kept(wing("a")), Some(1)),
        (empty(vec![]), Some(0)),
        (kept(wing("a")), Some(1)),
        (gone(0), None),
        (gone(0), None),
        (empty(wing("a")), Some(1)),
        (empty(wing("b")), Some(1)),
        (gone(0), None),
        (kept(wing("b")), Some(1)),
        (kept(vec![put("b", 2, vec![])]), Some(0)),
    ];
    for ((page, expected), position) in steps.into_iter().zip(1..) {
        let page = IndexPage { up_to: commit(position), ..page };
        let snapshot = store.apply(page).await.unwrap();
        let found = match snapshot {
            Some(snapshot) => Some(search(&*snapshot, words("wing")).await.unwrap().len()),
            None => None,
        };
        assert_eq!(found, expected, "after step {position}");
        assert_eq!(last(&store), Some(commit(position)));
    }
}

#[tokio::test]
async fn a_collection_that_starts_empty_has_no_statistics_until_it_rolls() {
    let store = ExactStore::in_memory(DIMENSIONS);
    store.apply(page(1, vec![put_text("a", 1, "wing")])).await.unwrap();
    let again = IndexPage { base: Base::Empty, epoch: Epoch::Kept, ..page(2, vec![]) };
    let snapshot = store.apply(again).await.unwrap().unwrap();
    assert_eq!(**snapshot.statistics(), Statistics::default());
}

#[tokio::test]
async fn a_page_again_or_late_changes_nothing() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let first = page(1, vec![put_text("a", 1, "wing"), put_text("b", 1, "wing flap")]);
    let second = page(2, vec![put_text("a", 2, "rudder"), delete("b")]);
    store.apply(first.clone()).await.unwrap();
    store.apply(second.clone()).await.unwrap();
    let expected = hits(&store, nearest([1.0, 0.0, 0.0])).await;
    for page in [second, first, gone(1)] {
        let snapshot = store.apply(page).await.unwrap().unwrap();
        assert_eq!(search(&*snapshot, nearest([1.0, 0.0, 0.0])).await.unwrap(), expected);
        assert_eq!(last(&store), Some(commit(2)));
    }
}

#[tokio::test]
async fn an_invalid_page_is_refused_as_a_whole() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let with = |embedding: &[f32], terms: &[&str]| {
        let terms = terms.iter().map(|term| (Arc::from(*term), 1)).collect();
        IndexedChunk { start: 0, end: 1, embedding: Embedding(embedding.into()), terms }
    };
    let good = with(&[1.0, 0.0, 0.0], &["a", "b"]);
    let bad = [
        put("b", 1, vec![with(&[1.0], &[])]),
        put("b", 1, vec![with(&[1.0, f32::NAN, 0.0], &[])]),
        put("b", 1, vec![with(&[1.0, 0.0, 0.0], &["b", "a"])]),
        put("b", 1, vec![with(&[1.0, 0.0, 0.0], &["a", "a"])]),
        put("b", 1, vec![IndexedChunk { end: 201, ..good }]),
        put_text("a", 1, "the same document"),
        delete("a"),
    ];
    for change in bad {
        let refused = store.apply(page(1, vec![put_text("a", 1, "wing"), change])).await;
        assert!(matches!(refused, Err(VectorError::Failed(_))), "{refused:?}");
        assert!(store.stored().is_empty());
    }
}

#[tokio::test]
async fn large_collections_are_searched_off_the_async_threads() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let change =
        |n: u16| put(&format!("d{n:04}"), 1, vec![chunk("wing", [f32::from(n), 0.0, 0.0])]);
    store.apply(page(1, (0..2_500).map(change).collect())).await.unwrap();
    let best = hits(&store, Query { limit: 2, offset: 1, ..nearest([1.0, 0.0, 0.0]) }).await;
    assert_eq!(scores(&best), [("d2498", 2_498.0), ("d2497", 2_497.0)]);
    let short = Query { nearest: Some(Embedding(vec![1.0].into())), ..query() };
    let refused = search(&*current(&store).unwrap(), short).await;
    assert!(matches!(refused, Err(VectorError::InvalidQuery(_))), "{refused:?}");
}

#[tokio::test]
async fn a_held_snapshot_outlives_its_collection_and_the_store() {
    let store = ExactStore::in_memory(DIMENSIONS);
    let change = |n: u16| put_text(&format!("d{n:04}"), 1, "wing");
    for size in [3, 2_500] {
        let all = IndexPage {
            base: Base::Empty,
            ..page(u64::from(size), (0..size).map(change).collect())
        };
        let held = store.apply(all).await.unwrap().unwrap();
        store.apply(gone(u64::from(size) + 1)).await.unwrap();
        assert!(current(&store).is_none());
        assert_eq!(search(&*held, words("wing")).await.unwrap().len(), usize::from(size.min(100)));
        assert_eq!(held.documents(), u64::from(size));
    }
    let held = store.apply(page(9_000, vec![put_text("a", 1, "wing")])).await.unwrap().unwrap();
    store.clear().await.unwrap();
    drop(store);
    assert_eq!(search(&*held, words("wing")).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_sees_one_position() {
    let store = Arc::new(ExactStore::in_memory(DIMENSIONS));
    let change = |n| page(n, vec![put_text("a", n, "wing"), put_text("b", n, "wing")]);
    store.apply(change(1)).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 2..=500 {
                store.apply(change(n)).await.unwrap();
            }
        })
    };
    loop {
        let ended = writer.is_finished();
        let stored = store.stored().remove(&name("c")).unwrap();
        let found = search(&*stored.snapshot.unwrap(), words("wing")).await.unwrap();
        let at = stored.last.position;
        assert!(found.len() == 2 && found.iter().all(|hit| hit.version == at));
        if ended {
            break assert_eq!(at, Position(500));
        }
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_different_collections_are_applied_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let many = async |collection: &str| {
        for n in 1..=30 {
            let changes = vec![put_text(&format!("d{n}"), n, "wing")];
            let page = IndexPage { collection: name(collection), ..page(n, changes) };
            store.apply(page).await.unwrap();
        }
    };
    futures::join!(many("a"), many("b"), many("c"));
    drop(store);
    let stored = open(folder.path()).await.stored();
    for collection in ["a", "b", "c"] {
        let Stored { last, snapshot } = &stored[&name(collection)];
        assert_eq!((*last, snapshot.as_ref().unwrap().documents()), (commit(30), 30));
    }
}

#[test]
fn a_page_prepared_from_an_older_state_is_refused() {
    // The one thread that prepares pages is kept busy until all changes have begun.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let store = ExactStore::in_memory(DIMENSIONS);
        let wing = |position| page(position, vec![put_text("a", position, "wing")]);
        let together = async |position, clears: bool| {
            let (release, released) = std::sync::mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || released.recv());
            let second = async {
                if clears {
                    return store.clear().await;
                }
                store.apply(wing(position + 1)).await.map(|_| ())
            };
            let release = async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                release.send(()).unwrap();
            };
            let (first, second, ()) = futures::join!(store.apply(wing(position)), second, release);
            (first.is_ok(), second.is_ok())
        };
        assert_eq!(together(1, false).await, (true, false));
        assert_eq!(last(&store), Some(commit(1)));
        assert_eq!(together(2, true).await, (false, true));
        assert_eq!(last(&store), None);
    });
}
