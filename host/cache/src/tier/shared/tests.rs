//! The tier over a store in memory that fails, waits and forges.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::encoding::DecodeError;
use crate::envelope::OpenError;
use crate::tier::testing::{Plain, key, record, tenant};

/// A store in memory that can fail, wait and forge.
#[derive(Default)]
struct Fake {
    envelopes: Mutex<HashMap<CacheKey, Vec<u8>>>,
    flushes: AtomicUsize,
    closed: AtomicBool,
    fails: bool,
    waits: Option<Arc<Notify>>,
}

#[async_trait]
impl EnvelopeStore for Fake {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(waits) = &self.waits {
            waits.notified().await;
        }
        if self.fails {
            return Err(StoreError::Unavailable("out of order".into()));
        }
        Ok(self.envelopes.lock().get(key).cloned())
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        if let Some(waits) = &self.waits {
            waits.notified().await;
        }
        if self.fails {
            return Err(StoreError::Unavailable("out of order".into()));
        }
        let mut kept = self.envelopes.lock();
        kept.extend(envelopes.into_iter().map(|envelope| (envelope.key, envelope.bytes)));
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.flushes.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn close(&self) {
        self.closed.store(true, Relaxed);
    }
}

const LIMITS: Limits = Limits {
    lookup_budget: Duration::from_secs(60),
    max_entry_bytes: 1 << 20,
    max_queued_bytes: 4 << 10,
};

fn tier(store: &Arc<Fake>, truth: u8) -> SharedTier<Plain> {
    let (store, guard) = (Arc::clone(store), Arc::new(Guard::new(10, || {})));
    let seal = Seal::new([truth; 16], &[truth; 32]);
    SharedTier::start(tenant(), store, guard, seal, LIMITS)
}

#[tokio::test]
async fn what_is_put_is_found_by_nodes_of_the_same_truth() {
    let store = Arc::new(Fake::default());
    let ours = tier(&store, 1);
    ours.put(key(1), record(b"small"));
    ours.put(key(2), record(&[7; 200_000]));
    ours.drain().await;
    // The second one was larger than the queue.
    let ours = tier(&store, 1);
    assert_eq!(ours.look_up(&key(1)).await.unwrap().value, Plain(b"small".to_vec()));
    assert_eq!(ours.look_up(&key(2)).await.unwrap_err(), Miss::Absent);
    let refused = tier(&store, 2).look_up(&key(1)).await.unwrap_err();
    assert_eq!(refused, Miss::Envelope(OpenError::OtherTruth));
    let all = ours.look_up_all(&[key(3), key(1), key(2)]).await;
    let all: Vec<_> = all.into_iter().map(|found| found.map(|record| record.value)).collect();
    let small = Plain(b"small".to_vec());
    assert_eq!(all, [Err(Miss::Absent), Ok(small.clone()), Err(Miss::Absent)]);
    // Large ones are opened on another thread.
    let (content, seal) = (record(&[7; 200_000]), Seal::new([1; 16], &[1; 32]));
    let content = content.encode(Moment::now(), 1 << 20).unwrap();
    let large = seal.close(&key(2), &content);
    store.envelopes.lock().insert(key(2), large);
    assert_eq!(ours.look_up(&key(2)).await.unwrap().value, Plain(vec![7; 200_000]));
    let all = ours.look_up_all(&[key(1), key(2)]).await;
    let all: Vec<_> = all.into_iter().map(|found| found.unwrap().value).collect();
    assert_eq!(all, [small, Plain(vec![7; 200_000])]);
}

#[tokio::test]
async fn tiers_over_one_store_are_drained_one_by_one_and_leave_it_open() {
    let store = Arc::new(Fake::default());
    let [first, last] = [tier(&store, 1), tier(&store, 1)];
    first.put(key(1), record(b"first"));
    last.put(key(2), record(b"last"));
    first.drain().await;
    assert!(store.envelopes.lock().contains_key(&key(1)) && !store.closed.load(Relaxed));
    assert!(!first.put(key(3), record(b"late")));
    last.drain().await;
    assert!(store.envelopes.lock().contains_key(&key(2)) && !store.closed.load(Relaxed));
}

#[tokio::test]
async fn whatever_the_store_returns_is_at_most_a_miss() {
    let store = Arc::new(Fake::default());
    let tier = tier(&store, 1);
    let seal = Seal::new([1; 16], &[1; 32]);
    for (bytes, miss) in [
        (b"garbage".to_vec(), Miss::Envelope(OpenError::NotAnEnvelope)),
        (seal.close(&key(2), b""), Miss::Envelope(OpenError::OtherKey)),
        (seal.close(&key(1), b"no record"), Miss::Record(DecodeError::Format { found: *b"no r" })),
    ] {
        store.envelopes.lock().insert(key(1), bytes);
        assert_eq!(tier.look_up(&key(1)).await.unwrap_err(), miss);
    }
    let failing = Arc::new(Fake { fails: true, ..Fake::default() });
    let failing = self::tier(&failing, 1);
    failing.put(key(1), record(b"lost"));
    assert_eq!(failing.look_up(&key(1)).await.unwrap_err(), Miss::Failed);
    let all = failing.look_up_all(&[key(1), key(2)]).await;
    assert!(all.iter().all(|found| matches!(found, Err(Miss::Failed))) && all.len() == 2);
    failing.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_flushed_once_when_nothing_follows() {
    let store = Arc::new(Fake::default());
    let tier = tier(&store, 1);
    let flushes = || store.flushes.load(Relaxed);
    for number in 0..5 {
        tier.put(key(number), record(b"small"));
        sleep(FLUSHED_AFTER / 2).await;
        assert_eq!(flushes(), 0);
    }
    sleep(FLUSHED_AFTER * 10).await;
    assert_eq!(flushes(), 1);
    tier.put(key(9), record(b"small"));
    sleep(FLUSHED_AFTER * 10).await;
    assert_eq!(flushes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_stuck_costs_the_budget_and_a_bounded_queue() {
    let stuck = Arc::new(Notify::new());
    let store = Arc::new(Fake { waits: Some(Arc::clone(&stuck)), ..Fake::default() });
    let tier = tier(&store, 1);
    let before = tokio::time::Instant::now();
    assert_eq!(tier.look_up(&key(1)).await.unwrap_err(), Miss::TooSlow);
    assert_eq!(before.elapsed(), LIMITS.lookup_budget);

    // Four of a KiB fit, whether they wait in the queue or in the store.
    for number in 0..10 {
        tier.put(key(number), record(&[number; 1_000]));
        tokio::task::yield_now().await;
    }
    assert_eq!(tier.room.available_permits(), 0);
    stuck.notify_one();
    stuck.notify_waiters();
    let close = tokio::spawn(async move { tier.drain().await });
    while !close.is_finished() {
        stuck.notify_one();
        tokio::task::yield_now().await;
    }
    assert_eq!(store.envelopes.lock().len(), 4);
}
