//! The catch-up with a real truth and the exact store, and an embedder that counts calls and
//! fails on demand.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::index::PROBE;
use super::*;
use crate::exact::ExactStore;
use crate::testing::account;
use crate::{Hit, IndexPage, Query, Snapshot, Stored, Unit};
use weir_core::Commit;
use weir_embedding::{Embedded, Embedding, Lane, Texts};
use weir_store::{Limits, NewDocument, Quota};

mod cases;
mod model_change;
mod set_aside;

/// Nobody observes it.
struct Unobserved;

#[async_trait::async_trait]
impl Observer for Unobserved {
    async fn applied(&self, _collection: &Name, _lines: &[Change]) {}

    fn model_changed(&self, _at: Position) {}

    fn invalidated(&self, _invalidations: &Invalidations) {}
}

/// What the embedder does when it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Works,
    Refuses,
    Fails,
    Panics,
    Hangs,
}

/// Returns a text's first two bytes as its vector. Only texts with a `!`, and the probe, are subject
/// to its mood. A text with one of `?#%^&` cannot be embedded, until that is mended.
struct Model {
    digest: &'static str,
    mood: watch::Sender<Mood>,
    mended: AtomicBool,
    embedded: Mutex<Vec<String>>,
    asked: watch::Sender<u64>,
}

#[async_trait]
impl Embedder for Model {
    fn model(&self) -> &str {
        "first-bytes"
    }

    fn model_digest(&self) -> &str {
        self.digest
    }

    fn dimensions(&self) -> usize {
        2
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    async fn embed(&self, texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        assert_eq!(origin.lane, Lane::CatchUp);
        let has = |mark: char| {
            !self.mended.load(Ordering::Relaxed) && texts.iter().any(|text| text.contains(mark))
        };
        let is_probe = texts.iter().all(|text| **text == *PROBE);
        if is_probe || texts.iter().any(|text| text.contains('!')) {
            self.asked.send_modify(|asked| *asked += 1);
            let mood = *self.mood.borrow();
            match mood {
                Mood::Works => {}
                Mood::Refuses if is_probe => {}
                Mood::Refuses => return Err(EmbedError::Overloaded),
                Mood::Fails => return Err(EmbedError::Failed("told to".into())),
                Mood::Panics => panic!("told to"),
                Mood::Hangs => std::future::pending().await,
            }
        }
        if has('?') {
            return Err(EmbedError::Failed("a bad text".into()));
        }
        assert!(!has('#'), "a bad text");
        self.embedded.lock().extend(texts.iter().map(ToString::to_string));
        let mut vectors: Vec<_> = texts.iter().map(|text| vector(text)).collect();
        if has('%') {
            vectors[0] = Embedding([f32::NAN, 0.0].into());
        }
        if has('^') {
            vectors[0] = Embedding([0.0; 3].into());
        }
        if has('&') {
            vectors.pop();
        }
        let embedded = texts.iter().map(|text| text.len()).zip(vectors);
        Ok(embedded.map(|(tokens, vector)| Embedded { vector, tokens }).collect())
    }
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin::catch_up("test"))
}

fn vector(text: &str) -> Embedding {
    let mut bytes = text.bytes().map(f32::from);
    Embedding([bytes.next().unwrap_or(0.0), bytes.next().unwrap_or(0.0)].into())
}

/// The exact store, with failures that a test can switch on.
struct Store {
    exact: ExactStore,
    broken: AtomicBool,
    /// Pages up to this position or later fail.
    broken_from: AtomicU64,
}

#[async_trait]
impl VectorStore for Store {
    fn stored(&self) -> HashMap<Name, Stored> {
        self.exact.stored()
    }

    fn completed(&self) -> Commit {
        self.exact.completed()
    }

    async fn apply(&self, page: IndexPage) -> Result<Option<Arc<dyn Snapshot>>, VectorError> {
        let is_broken = page.up_to.position.0 >= self.broken_from.load(Ordering::Relaxed);
        if is_broken || self.broken.load(Ordering::Relaxed) {
            return Err(VectorError::Failed("disk full".into()));
        }
        self.exact.apply(page).await
    }

    async fn complete(&self, commit: Commit) -> Result<(), VectorError> {
        self.exact.complete(commit).await
    }

    async fn clear(&self) -> Result<(), VectorError> {
        self.exact.clear().await
    }
}

struct Fixture {
    truth: Arc<dyn Truth>,
    model: Arc<Model>,
    store: Arc<Store>,
    _folder: TempDir,
}

/// Nothing is trimmed unless a test wants it.
const NEVER: Settings = Settings { page_lines: 64, trim_every: Duration::from_secs(1 << 30) };

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { max_backlog_bytes: u64::MAX, quota: Quota::NONE };
        let truth = weir_store::open_truth(folder.path(), limits).await.unwrap();
        truth.change_model("0").await.unwrap();
        let f = Self { truth, model: model("0"), store: empty_store(), _folder: folder };
        f.create("docs").await;
        f
    }

    fn with_empty_store(self) -> Self {
        Self { store: empty_store(), ..self }
    }

    async fn start(&self) -> Arc<CatchUp> {
        // The first tick is at once, so tests that do not want one have nothing to trim then.
        self.start_with(NEVER).await
    }

    async fn start_with(&self, settings: Settings) -> Arc<CatchUp> {
        self.start_observed(None, Arc::new(Unobserved), settings).await
    }

    async fn start_observed(
        &self,
        next: Option<Index>,
        observer: Arc<dyn Observer>,
        settings: Settings,
    ) -> Arc<CatchUp> {
        let truth = Arc::clone(&self.truth);
        CatchUp::start(truth, self.index(), next, observer, settings).await.unwrap()
    }

    fn index(&self) -> Index {
        let (embedder, store) = (Arc::clone(&self.model), Arc::clone(&self.store));
        Index { embedder, origin: origin(), store }
    }

    /// Waits until everything is searchable, and compares all documents with the truth's.
    async fn caught_up(&self, catch_up: &CatchUp) {
        let head = self.truth.head().await.unwrap();
        let view = catch_up.progress().wait_for(|view| view.completed() >= head).await;
        assert_eq!(catch_up.status().last_error, None);
        let (collections, _) = self.truth.collections().await.unwrap();
        assert_eq!(view.snapshots().count(), collections.len());
        for collection in collections {
            let snapshot = view.snapshot(&collection.name).unwrap();
            let at = view.applied(&collection.name).position;
            let documents =
                self.truth.scan(&collection.name, at, None, 100_000).await.unwrap().unwrap();
            assert_eq!(snapshot.documents(), documents.len() as u64, "{}", collection.name);
            for document in documents {
                let (version, content) = snapshot.document(&document.id).unwrap();
                assert_eq!((version, &content.text), (document.version, &document.text));
            }
        }
    }

    async fn create(&self, collection: &str) {
        self.truth.create_collection(&name(collection)).await.unwrap();
    }

    async fn drop_collection(&self, collection: &str) {
        self.truth.drop_collection(&name(collection)).await.unwrap().unwrap();
    }

    async fn put(&self, collection: &str, documents: Vec<NewDocument>) -> Commit {
        self.truth.put(&name(collection), documents, None).await.unwrap().commit
    }

    async fn put_one(&self, id: &str, text: &str) -> Commit {
        self.put("docs", vec![document(id, text)]).await
    }

    async fn delete_one(&self, id: &str) {
        self.truth.delete(&name("docs"), vec![DocumentId::new(id).unwrap()]).await.unwrap();
    }

    fn embedded(&self, text: &str) -> usize {
        self.model.embedded.lock().iter().filter(|embedded| *embedded == text).count()
    }

    fn set_mood(&self, mood: Mood) {
        self.model.mood.send_replace(mood);
    }

    /// Commits of all kinds, over a collection that grows enough to roll in steps.
    async fn random_history(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut word = move || {
            let letters = ['o', 'k', 'z', 'b'].map(|c| (c, random.random_range(0..4_u8)));
            letters.iter().map(|(c, n)| format!("{c}{}", char::from(b'a' + n))).collect::<String>()
        };
        let mut random = StdRng::seed_from_u64(seed + 1);
        for step in 0..160 {
            let id = |random: &mut StdRng| format!("d{}", random.random_range(0..150));
            match random.random_range(0..10) {
                0 => self.delete_one(&id(&mut random)).await,
                1 if step == 40 => {
                    self.drop_collection("docs").await;
                    self.create("docs").await;
                }
                _ => {
                    let documents: std::collections::BTreeMap<_, _> = (0..random
                        .random_range(1..6))
                        .map(|_| (id(&mut random), format!("{} {}", word(), word())))
                        .collect();
                    let documents = documents.iter().map(|(id, text)| document(id, text));
                    self.put("docs", documents.collect()).await;
                }
            }
        }
    }
}

fn model(digest: &'static str) -> Arc<Model> {
    Arc::new(Model {
        digest,
        mood: watch::Sender::new(Mood::Works),
        embedded: Mutex::default(),
        asked: watch::Sender::new(0),
        mended: AtomicBool::new(false),
    })
}

fn empty_store() -> Arc<Store> {
    Arc::new(Store {
        exact: ExactStore::in_memory(2),
        broken: AtomicBool::new(false),
        broken_from: AtomicU64::new(u64::MAX),
    })
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
    NewDocument { id, text: text.into(), metadata: "{}".into(), chunks, split_by: "0".into() }
}

fn later() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

/// The hits of many questions in three modes, as text.
async fn hits(catch_up: &CatchUp) -> String {
    let view = catch_up.progress().view();
    let snapshot = view.snapshot(&name("docs")).unwrap();
    let mut all = format!("{:?}\n", snapshot.statistics().chunks);
    for question in 0..100_u8 {
        let letter = |n: u8| char::from(b'a' + n % 4);
        let text = format!("o{}k{}z{}b{}", letter(question), letter(question / 4), 'a', 'b');
        let (dense, keyword) = (Some(vector(&text)), Some(text));
        for (nearest, text) in [(dense.clone(), None), (None, keyword.clone()), (dense, keyword)] {
            let query = Query {
                nearest,
                text,
                filter: None,
                minimum_score: None,
                unit: Unit::Chunk,
                limit: 50,
                offset: 0,
            };
            let line =
                |hit: &Hit| format!("{} {} {:08x}", hit.document, hit.chunk, hit.score.to_bits());
            let hits = snapshot.search(query, later(), &account()).await.unwrap();
            all += &format!("{:?}\n", hits.iter().map(line).collect::<Vec<_>>());
        }
    }
    all
}
