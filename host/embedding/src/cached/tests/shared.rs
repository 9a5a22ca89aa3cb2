//! Vectors in a store that outlives the caches before it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use weir_cache::CacheKey;
use weir_cache::envelope::Seal;
use weir_cache::tier::{Envelope, EnvelopeStore, Limits, SharedTier, StoreError};
use weir_cache::usage::ByReason;
use weir_cache::usage::windows::{Share, Shares};
use weir_core::name::Name;
use weir_limits::guard::Guard;

use super::*;

const LIMITS: Limits = Limits {
    lookup_budget: Duration::from_millis(20),
    max_entry_bytes: 1 << 20,
    max_queued_bytes: 1 << 20,
};

/// A store in memory, which answers while the test allows it.
struct Store {
    envelopes: Mutex<HashMap<CacheKey, Vec<u8>>>,
    /// How often it was asked.
    asked: AtomicUsize,
    answers: Semaphore,
}

#[async_trait]
impl EnvelopeStore for Store {
    async fn get(&self, _: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        panic!("vectors are looked up together")
    }

    async fn get_all(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.asked.fetch_add(1, Relaxed);
        self.answers.acquire().await.unwrap().forget();
        let kept = self.envelopes.lock();
        Ok(keys.iter().map(|key| kept.get(key).cloned()).collect())
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        let mut kept = self.envelopes.lock();
        kept.extend(envelopes.into_iter().map(|envelope| (envelope.key, envelope.bytes)));
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}

impl Store {
    fn new(answers: usize) -> Arc<Self> {
        let answers = Semaphore::new(answers);
        Arc::new(Self { envelopes: Mutex::default(), asked: AtomicUsize::new(0), answers })
    }

    /// How often it was asked since the last look.
    fn asked(&self) -> usize {
        self.asked.swap(0, Relaxed)
    }
}

/// A life of a server: its model and its caches, over a store with what earlier lives have left.
struct Life {
    harness: Harness,
    shared: Arc<SharedVectors>,
}

impl Life {
    /// Tenants `a` and `b`, whose truths have this secret, and a model of this digest.
    fn of(store: &Arc<Store>, turns: usize, secret: u8, digest: &'static str) -> Self {
        let shared = Arc::new(SharedVectors::default());
        for (id, tenant) in ["a", "b"].into_iter().enumerate() {
            let tenant = Name::new(tenant).unwrap();
            let seal = Seal::new([id as u8; 16], &[secret; 32]);
            let (store, guard) = (Arc::clone(store), Arc::new(Guard::new(64, || {})));
            shared.attach(&tenant, SharedTier::start(tenant.clone(), store, guard, seal, LIMITS));
        }
        let harness = Harness::over(turns, Caches::Shared(1 << 20), digest, &shared);
        Self { harness, shared }
    }

    fn new(store: &Arc<Store>, turns: usize) -> Self {
        Self::of(store, turns, 1, "00")
    }

    /// The texts of these that the model computes.
    async fn computed(&self, texts: &[&str], origin: &Origin) -> Vec<String> {
        assert_eq!(self.harness.ask(texts, origin).await.await.unwrap(), all(texts));
        self.harness.calls().concat()
    }

    async fn end(self) {
        self.shared.drain().await;
    }
}

const TEXTS: [&str; 3] = ["one", "three", "seventeen"];

/// A store that a life has left, with the vectors of [`TEXTS`] for the tenant `a`.
async fn left() -> Arc<Store> {
    let store = Store::new(99);
    let life = Life::new(&store, 99);
    assert_eq!(life.computed(&TEXTS, &api()).await, TEXTS);
    life.end().await;
    assert_eq!((store.envelopes.lock().len(), store.asked()), (TEXTS.len(), 1));
    store
}

#[tokio::test]
async fn vectors_survive_a_restart_with_their_tokens_and_are_in_memory_then() {
    let store = left().await;
    let life = Life::new(&store, 99);
    let asked = ["three", "new", "one", "three"];
    assert_eq!(life.computed(&asked, &Origin::pipeline("a", "p")).await, ["new"]);
    assert_eq!(store.asked(), 1);
    // What is in memory is not looked for elsewhere.
    assert_eq!(life.computed(&asked, &api()).await, [""; 0]);
    assert_eq!(store.asked(), 0);
    life.end().await;
    let life = Life::new(&store, 99);
    assert_eq!(life.computed(&asked, &api()).await, [""; 0]);
}

#[tokio::test]
async fn lookups_are_counted_for_each_tenant_and_once_for_each_text() {
    let store = left().await;
    let life = Life::new(&store, 0);
    let counts = |tenant: &str| life.shared.counts(&Name::new(tenant).unwrap());
    assert_eq!(counts("a"), Counts::default());
    // One is in the shared tier, and another call waits for the one that is not.
    let first = life.harness.ask(&["one", "new", "one"], &api()).await;
    let second = life.harness.ask(&["new"], &api()).await;
    life.harness.turns(1);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    life.harness.ask(&["one", "new"], &Origin::pipeline("a", "p")).await.await.unwrap().unwrap();
    // The catch-up asks no tier.
    life.harness.turns(1);
    life.harness.ask(&["three"], &Origin::catch_up("a")).await.await.unwrap().unwrap();
    let counted = counts("a");
    let share = Share { hits: 3, lookups: 5 };
    let expected = Counts {
        texts: 5,
        hits: 2,
        collapsed: 1,
        shared_hits: 1,
        shared_misses: ByReason::from([("absent", 1)]),
        shares: Shares {
            last_minute: share,
            last_five_minutes: share,
            last_hour: share,
            since_start: share,
        },
    };
    assert_eq!(counted, expected);
    assert_eq!(counts("b"), Counts::default(), "although the vectors in memory are everybody's");
    (0..8).for_each(|_| life.shared.turn());
    assert_eq!(counts("a").shares.last_minute, Share::default());
    let kept = life.harness.0.in_memory("b").unwrap();
    assert!(kept.is_shared && kept.vectors == 2 && kept.bytes > 0, "{kept:?}");
}

#[tokio::test]
async fn nobody_gets_the_vectors_of_another_tenant_truth_or_model() {
    let store = left().await;
    for (secret, digest, origin) in [
        (1, "00", Origin::api("b")),
        (1, "00", Origin::api("without a tier")),
        (2, "00", api()),
        (1, "01", api()),
    ] {
        let life = Life::of(&store, 99, secret, digest);
        assert_eq!(life.computed(&TEXTS, &origin).await, TEXTS, "{secret} {digest} {origin:?}");
    }
}

/// As in a Redis that all tenants share.
#[tokio::test]
async fn tenants_do_not_overwrite_each_others_vectors() {
    let store = left().await;
    let life = Life::new(&store, 99);
    assert_eq!(life.computed(&TEXTS, &Origin::api("b")).await, TEXTS);
    life.end().await;
    for tenant in ["a", "b"] {
        let life = Life::new(&store, 99);
        assert_eq!(life.computed(&TEXTS, &Origin::api(tenant)).await, [""; 0], "{tenant}");
    }
}

#[tokio::test]
async fn the_catch_up_neither_reads_nor_writes_it() {
    let store = left().await;
    let life = Life::new(&store, 99);
    let texts = ["one", "of a document"];
    assert_eq!(life.computed(&texts, &Origin::catch_up("a")).await, texts);
    life.end().await;
    assert_eq!((store.envelopes.lock().len(), store.asked()), (TEXTS.len(), 0));
}

#[tokio::test]
async fn what_the_store_has_instead_of_a_vector_is_computed() {
    let store = left().await;
    // Under each key what belongs to another.
    let (keys, mut envelopes): (Vec<_>, Vec<_>) = store.envelopes.lock().drain().unzip();
    envelopes.rotate_left(1);
    store.envelopes.lock().extend(keys.into_iter().zip(envelopes));
    let life = Life::new(&store, 99);
    assert_eq!(life.computed(&TEXTS, &api()).await, TEXTS);

    // Vectors that are not of the model's dimensions.
    for _ in 0..2 {
        let life = Life::of(&store, 99, 1, "wide");
        assert_eq!(life.computed(&TEXTS, &api()).await, TEXTS);
        life.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_costs_a_call_the_budget() {
    let store = Store::new(0);
    let life = Life::new(&store, 99);
    let before = tokio::time::Instant::now();
    assert_eq!(life.computed(&TEXTS, &api()).await, TEXTS);
    assert_eq!(before.elapsed(), LIMITS.lookup_budget);
    assert_eq!(store.asked(), 1);
}

#[tokio::test]
async fn a_call_that_leaves_while_it_is_looked_up_leaves_what_others_follow() {
    let store = Store::new(0);
    let life = Life::new(&store, 99);
    let call = life.harness.ask(&["alone", "followed"], &api()).await;
    let follower = life.harness.ask(&["followed"], &api()).await;
    leave(call).await;
    assert_eq!(life.harness.calls(), [[""; 0]; 0]);
    store.answers.add_permits(1);
    assert_eq!(follower.await.unwrap(), all(&["followed"]));
    assert_eq!(life.harness.calls(), [["followed"]]);
    assert_eq!(life.harness.0.flights.flights(), 0);
}

#[tokio::test]
async fn a_call_that_finds_no_room_is_refused_after_the_lookup() {
    let store = left().await;
    let life = Life::new(&store, 99);
    let refused = life.harness.ask(&["one", "busy"], &api()).await;
    assert_eq!(refused.await.unwrap(), Err(EmbedError::Overloaded));
    assert_eq!(life.harness.calls(), [["busy"]]);
}
