//! The catch-up with a real truth, an embedder that counts calls and fails on demand, and a
//! store in memory.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::FutureExt;
use tempfile::TempDir;

use super::*;
use crate::{IndexChange, Page, Query, VectorError};
use weir_core::name::{DocumentId, Name};
use weir_embedding::{EmbedError, Embedding, Lane};
use weir_store::NewDocument;

/// What the embedder does when it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Works,
    Fails,
    Panics,
    Hangs,
}

/// Returns a text's first two bytes as its vector.
struct Model {
    mood: watch::Sender<Mood>,
    embedded: Mutex<Vec<String>>,
    asked: watch::Sender<u64>,
}

#[async_trait]
impl Embedder for Model {
    fn model(&self) -> &str {
        "first-bytes"
    }

    fn model_digest(&self) -> &str {
        "0"
    }

    fn dimensions(&self) -> usize {
        2
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    async fn embed(&self, texts: &[Arc<str>], lane: Lane) -> Result<Vec<Embedding>, EmbedError> {
        assert_eq!(lane, Lane::Bulk);
        self.asked.send_modify(|asked| *asked += 1);
        let mood = *self.mood.borrow();
        match mood {
            Mood::Works => {}
            Mood::Fails => return Err(EmbedError::Failed("told to".into())),
            Mood::Panics => panic!("told to"),
            Mood::Hangs => std::future::pending().await,
        }
        self.embedded.lock().extend(texts.iter().map(ToString::to_string));
        Ok(texts.iter().map(|text| Embedding(vector(text).into())).collect())
    }
}

fn vector(text: &str) -> [f32; 2] {
    let mut bytes = text.bytes().map(f32::from);
    [bytes.next().unwrap_or(0.0), bytes.next().unwrap_or(0.0)]
}

type Documents = BTreeMap<String, (u64, Vec<(u32, u32, Embedding)>)>;

/// Keeps what is applied to it, and panics at changes that break the order.
#[derive(Default)]
struct Memory {
    collections: Mutex<BTreeMap<String, Documents>>,
    /// The positions applied; the last one is the store's.
    applied: Mutex<Vec<u64>>,
    broken: Mutex<bool>,
}

#[async_trait]
impl VectorStore for Memory {
    fn applied(&self) -> Position {
        Position(self.applied.lock().last().copied().unwrap_or_default())
    }

    async fn apply(&self, changes: Vec<IndexChange>, up_to: Position) -> Result<(), VectorError> {
        if *self.broken.lock() {
            return Err(VectorError::Failed("disk full".into()));
        }
        assert!(up_to > self.applied());
        let mut collections = self.collections.lock();
        for change in changes {
            match change {
                IndexChange::CreateCollection(name) => {
                    collections.entry(name.to_string()).or_default();
                }
                IndexChange::DropCollection(name) => {
                    collections.remove(name.as_str());
                }
                IndexChange::Put { collection, document, version, chunks, .. } => {
                    let chunks = chunks.into_iter();
                    let chunks = chunks.map(|chunk| (chunk.start, chunk.end, chunk.embedding));
                    let entry = (version.0, chunks.collect());
                    // A document is never put into a collection that does not exist.
                    let documents = collections.get_mut(collection.as_str()).unwrap();
                    documents.insert(document.to_string(), entry);
                }
                IndexChange::Delete { collection, document } => {
                    collections.get_mut(collection.as_str()).unwrap().remove(document.as_str());
                }
            }
        }
        self.applied.lock().push(up_to.0);
        Ok(())
    }

    async fn search(&self, query: Query) -> Result<Page, VectorError> {
        Err(VectorError::UnknownCollection(query.collection))
    }
}

struct Fixture {
    truth: Arc<dyn Truth>,
    model: Arc<Model>,
    store: Arc<Memory>,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let truth = weir_store::open_truth(folder.path()).await.unwrap();
        let model = Arc::new(Model {
            mood: watch::Sender::new(Mood::Works),
            embedded: Mutex::default(),
            asked: watch::Sender::new(0),
        });
        let f = Self { truth, model, store: Arc::default(), _folder: folder };
        f.create("docs").await;
        f
    }

    fn start(&self) -> Arc<CatchUp> {
        let (model, store) = (Arc::clone(&self.model), Arc::clone(&self.store));
        CatchUp::start(Arc::clone(&self.truth), model, store)
    }

    /// Waits until the store has caught up with the truth, and compares them.
    async fn caught_up(&self, catch_up: &CatchUp) {
        let target = self.truth.position().await.unwrap();
        catch_up.reached(target).await;
        let status = catch_up.status();
        assert_eq!(status, CatchUpStatus { applied: target, target, last_error: None });
        let mut expected: BTreeMap<String, Documents> = BTreeMap::new();
        let collections = self.truth.collections().await.unwrap();
        let ids = self.truth.changes_after(Position::ZERO, u32::MAX).await.unwrap();
        for collection in collections {
            let documents = expected.entry(collection.name.to_string()).or_default();
            for change in ids.iter().filter(|change| change.collection == collection.name) {
                let weir_store::ChangeKind::DocumentPut(id) = &change.kind else { continue };
                let Some(document) = self.truth.document(&collection.name, id).await.unwrap()
                else {
                    continue;
                };
                let chunk = |chunk: &std::ops::Range<u32>| {
                    let text = weir_store::chunk_text(&document.text, chunk).unwrap();
                    (chunk.start, chunk.end, Embedding(vector(text).into()))
                };
                let chunks = document.chunks.iter().map(chunk).collect();
                documents.insert(id.to_string(), (document.version.0, chunks));
            }
        }
        assert_eq!(*self.store.collections.lock(), expected);
    }

    async fn create(&self, collection: &str) {
        self.truth.create_collection(&name(collection)).await.unwrap();
    }

    async fn drop_collection(&self, collection: &str) {
        self.truth.drop_collection(&name(collection)).await.unwrap().unwrap();
    }

    async fn put(&self, collection: &str, documents: Vec<NewDocument>) -> Position {
        self.truth.put(&name(collection), documents, None).await.unwrap().position
    }

    async fn put_one(&self, id: &str, text: &str) -> Position {
        self.put("docs", vec![document(id, text)]).await
    }

    /// Makes more commits than a page has lines, so that what follows is in another page.
    async fn fill_a_page(&self) {
        self.create("filler").await;
        for i in 0..70 {
            self.put("filler", vec![document(&format!("{i}"), "filler")]).await;
        }
    }

    fn embedded(&self, text: &str) -> usize {
        self.model.embedded.lock().iter().filter(|embedded| *embedded == text).count()
    }

    fn set_mood(&self, mood: Mood) {
        self.model.mood.send_replace(mood);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A document whose words are its chunks.
fn document(id: &str, text: &str) -> NewDocument {
    let mut chunks = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + word.len();
        chunks.push(u32::try_from(start).unwrap()..u32::try_from(end).unwrap());
    }
    let id = DocumentId::new(id).unwrap();
    NewDocument { id, text: text.into(), metadata: "{}".into(), chunks }
}

#[tokio::test]
async fn an_empty_store_gets_everything_and_then_follows() {
    let f = Fixture::new().await;
    f.put("docs", vec![document("a", "one two three"), document("blank", "")]).await;
    let many = (0..200).map(|i| document(&format!("m{i}"), &format!("w{i} x{i}"))).collect();
    let big_commit = f.put("docs", many).await;
    let catch_up = f.start();
    f.caught_up(&catch_up).await;

    f.put_one("a", "four").await;
    f.caught_up(&catch_up).await;
    f.truth.delete(&name("docs"), vec![DocumentId::new("m7").unwrap()]).await.unwrap().unwrap();
    f.put_one("late", "five six").await;
    f.caught_up(&catch_up).await;
    f.drop_collection("docs").await;
    f.create("other").await;
    f.caught_up(&catch_up).await;
    let applied = f.store.applied.lock().clone();
    assert!(applied.contains(&big_commit.0), "a commit is applied at once: {applied:?}");
}

#[tokio::test]
async fn it_continues_from_the_stores_position() {
    let f = Fixture::new().await;
    f.put_one("a", "before").await;
    let catch_up = f.start();
    f.caught_up(&catch_up).await;
    catch_up.stop().await;
    f.put_one("b", "after").await;
    assert_eq!(catch_up.status().applied, Position(2));
    assert_eq!(catch_up.status().target, Position(3));

    let catch_up = f.start();
    f.caught_up(&catch_up).await;
    assert_eq!((f.embedded("before"), f.embedded("after")), (1, 1));
}

#[tokio::test]
async fn a_recreated_collection_has_only_its_new_documents() {
    let f = Fixture::new().await;
    f.put("docs", vec![document("a", "old"), document("b", "old")]).await;
    let catch_up = f.start();
    f.caught_up(&catch_up).await;
    catch_up.stop().await;
    f.drop_collection("docs").await;
    f.create("docs").await;
    f.put_one("a", "new").await;
    f.caught_up(&f.start()).await;
    // The same for an empty store, which gets all of it at once.
    let f = Fixture { store: Arc::default(), ..f };
    f.caught_up(&f.start()).await;
}

#[tokio::test]
async fn a_document_ahead_of_its_page_is_embedded_once() {
    let f = Fixture::new().await;
    f.put_one("a", "old").await;
    f.fill_a_page().await;
    f.put_one("a", "new").await;
    f.caught_up(&f.start()).await;
    assert_eq!((f.embedded("old"), f.embedded("new")), (0, 1));
}

#[tokio::test]
async fn a_document_ahead_of_a_dropped_collection_is_put_again() {
    let f = Fixture::new().await;
    f.put_one("a", "old").await;
    f.fill_a_page().await;
    f.drop_collection("docs").await;
    f.create("docs").await;
    f.put_one("a", "new").await;
    f.caught_up(&f.start()).await;
}

#[tokio::test]
async fn deleted_documents_and_those_of_a_dropped_collection_are_skipped() {
    let f = Fixture::new().await;
    f.put("docs", vec![document("a", "gone"), document("b", "stays")]).await;
    f.create("dropped").await;
    f.put("dropped", vec![document("a", "dropped")]).await;
    f.fill_a_page().await;
    f.truth.delete(&name("docs"), vec![DocumentId::new("a").unwrap()]).await.unwrap().unwrap();
    f.drop_collection("dropped").await;
    f.caught_up(&f.start()).await;
    assert_eq!((f.embedded("gone"), f.embedded("dropped"), f.embedded("stays")), (0, 0, 1));
}

#[tokio::test]
async fn it_recovers_from_an_embedder_that_fails_or_panics() {
    for (mood, message) in [
        (Mood::Fails, "the model failed: told to"),
        (Mood::Panics, "a task of the catch-up panicked"),
    ] {
        let f = Fixture::new().await;
        f.set_mood(mood);
        let catch_up = f.start();
        let position = f.put_one("a", "text").await;
        // The second call shows that the first failure has been recorded.
        f.model.asked.subscribe().wait_for(|asked| *asked >= 2).await.unwrap();
        let status = catch_up.status();
        assert_eq!(status.last_error.as_deref(), Some(message));
        assert!(status.applied < position && status.target == position, "{status:?}");
        f.set_mood(Mood::Works);
        f.caught_up(&catch_up).await;
    }
}

#[tokio::test]
async fn it_recovers_from_a_store_that_fails() {
    let f = Fixture::new().await;
    *f.store.broken.lock() = true;
    f.put_one("a", "text").await;
    let catch_up = f.start();
    f.model.asked.subscribe().wait_for(|asked| *asked >= 2).await.unwrap();
    let error = catch_up.status().last_error;
    assert_eq!(error.as_deref(), Some("the vector store failed: disk full"));
    *f.store.broken.lock() = false;
    f.caught_up(&catch_up).await;
}

#[tokio::test]
async fn reached_waits_for_its_position_and_can_be_dropped() {
    let f = Fixture::new().await;
    let catch_up = f.start();
    catch_up.reached(Position(1)).await;
    let mut reached = Box::pin(catch_up.reached(Position(2)));
    assert!((&mut reached).now_or_never().is_none());
    assert!(catch_up.reached(Position(2)).now_or_never().is_none(), "dropped");
    f.put_one("a", "text").await;
    reached.await;
    assert!(catch_up.reached(Position(2)).now_or_never().is_some());
    assert_eq!(f.store.collections.lock()["docs"].len(), 1);
}

#[tokio::test]
async fn it_stops_while_the_embedder_hangs() {
    let f = Fixture::new().await;
    f.set_mood(Mood::Hangs);
    f.put_one("a", "text").await;
    let catch_up = f.start();
    f.model.asked.subscribe().wait_for(|asked| *asked >= 1).await.unwrap();
    catch_up.stop().await;
    catch_up.stop().await;
    f.set_mood(Mood::Works);
    f.caught_up(&f.start()).await;
}

#[tokio::test]
async fn a_store_built_from_another_truth_is_reported() {
    let f = Fixture::new().await;
    f.store.applied.lock().push(9);
    let catch_up = f.start();
    let error = loop {
        if let Some(error) = catch_up.status().last_error {
            break error;
        }
        tokio::task::yield_now().await;
    };
    let expected = "the vector store is at position 9 but the truth is only at 1:";
    assert!(error.starts_with(expected), "{error}");
}
