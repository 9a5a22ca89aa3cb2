//! What callers see of the shared tier: a lookup within a budget, and writes that they do not wait
//! for.
//!
//! A record that is put is charged to the queue before it is queued, and until it is written. A task
//! encodes and closes what is queued, as many at once as have arrived, and gives them to the store.
//! A record that finds the queue full is dropped: it would have been a hit, and is nothing worse
//! than a miss.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use parking_lot::Mutex;
use tokio::select;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::{debug, warn};
use weir_core::name::Name;
use weir_limits::guard::{Failure, Guard};

use super::{Envelope, EnvelopeStore, Miss, StoreError};
use crate::CacheKey;
use crate::encoding::{Portable, Record};
use crate::entry::Moment;
use crate::envelope::Seal;

/// The most records that are given to the store at once.
const BATCH: usize = 64;
/// Envelopes from this size on are opened on a thread of their own: a worker would answer nothing else
/// while it authenticates and decompresses them.
const LARGE_BYTES: usize = 64 << 10;
/// How long a write may take. Nobody waits for it but the next one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without a record, what was written is made durable.
const FLUSHED_AFTER: Duration = Duration::from_secs(1);
/// What the queue is charged in.
const UNIT_BYTES: usize = 1 << 10;

/// What a tier may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a lookup may take.
    pub lookup_budget: Duration,
    /// The largest record, encoded.
    pub max_entry_bytes: usize,
    /// The memory of records that wait to be written.
    pub max_queued_bytes: usize,
}

/// Records of one tenant in a store outside this process.
pub struct SharedTier<V> {
    store: Arc<dyn EnvelopeStore>,
    guard: Arc<Guard<Name>>,
    tenant: Name,
    seal: Arc<Seal>,
    limits: Limits,
    room: Arc<Semaphore>,
    writer: Mutex<Option<Writer<V>>>,
    dropped: Counter,
    values: PhantomData<fn(V)>,
}

struct Writer<V> {
    queue: UnboundedSender<Queued<V>>,
    task: JoinHandle<()>,
}

struct Queued<V> {
    key: CacheKey,
    record: Record<V>,
    _room: OwnedSemaphorePermit,
}

impl<V: Portable + Send + Sync + 'static> SharedTier<V> {
    /// Starts a tier with the records that nodes with this `seal` keep in `store` for `tenant`, behind
    /// `guard`. Call this within a tokio runtime.
    #[must_use]
    pub fn start(
        tenant: Name,
        store: Arc<dyn EnvelopeStore>,
        guard: Arc<Guard<Name>>,
        seal: Seal,
        limits: Limits,
    ) -> Self {
        let seal = Arc::new(seal);
        let (queue, queued) = mpsc::unbounded_channel();
        let written = Written {
            tenant: tenant.clone(),
            store: Arc::clone(&store),
            guard: Arc::clone(&guard),
            seal: Arc::clone(&seal),
            limits,
        };
        let task = tokio::spawn(written.all(queued));
        let units = (limits.max_queued_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            store,
            guard,
            tenant,
            seal,
            limits,
            room: Arc::new(Semaphore::new(units)),
            writer: Mutex::new(Some(Writer { queue, task })),
            dropped: counter!("weir_cache_shared_dropped_total"),
            values: PhantomData,
        }
    }

    /// How long a lookup may take.
    #[must_use]
    pub fn lookup_budget(&self) -> Duration {
        self.limits.lookup_budget
    }

    /// The record under this key. It may have expired, and anything that it read may have
    /// changed.
    ///
    /// # Errors
    /// There is none, or none that a node of this truth has written.
    pub async fn look_up(&self, key: &CacheKey) -> Result<Record<V>, Miss> {
        let budget = self.limits.lookup_budget;
        let found = self.guard.read(&self.tenant, budget, || self.store.get(key)).await;
        let envelope = found.map_err(miss)?.ok_or(Miss::Absent)?;
        let (key, seal, max_bytes) = (*key, Arc::clone(&self.seal), self.limits.max_entry_bytes);
        let large = envelope.len() > LARGE_BYTES;
        let open = move || {
            let content = seal.open(&key, &envelope, max_bytes).map_err(Miss::Envelope)?;
            Record::decode(&content, max_bytes, Moment::now()).map_err(Miss::Record)
        };
        if large { spawn_blocking(open).await.unwrap_or(Err(Miss::Failed)) } else { open() }
    }

    /// Stores a record soon. Returns `false` if it is too large, or the queue is full.
    pub fn put(&self, key: CacheKey, record: Record<V>) -> bool {
        let bytes = record.value.weight_bytes() as usize + record.depends_on.weight_bytes();
        if bytes > self.limits.max_entry_bytes {
            return false;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(units);
        let queued = room.ok().and_then(|room| {
            let queued = Queued { key, record, _room: room };
            self.writer.lock().as_ref()?.queue.send(queued).ok()
        });
        if queued.is_none() {
            self.dropped.increment(1);
        }
        queued.is_some()
    }

    /// Writes what is queued, and makes it durable. What is put later is dropped.
    pub async fn close(&self) {
        let writer = self.writer.lock().take();
        if let Some(Writer { queue, task }) = writer {
            drop(queue);
            if let Err(error) = task.await {
                warn!(%error, "the shared tier's writer failed");
            }
            self.store.close().await;
        }
    }
}

/// What the writing task needs.
struct Written {
    tenant: Name,
    store: Arc<dyn EnvelopeStore>,
    guard: Arc<Guard<Name>>,
    seal: Arc<Seal>,
    limits: Limits,
}

impl Written {
    /// Writes what is queued until nobody can queue more.
    async fn all<V: Portable + Send + Sync + 'static>(
        self,
        mut queued: UnboundedReceiver<Queued<V>>,
    ) {
        let failed = counter!("weir_cache_shared_write_failures_total");
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_flushed = true;
        loop {
            let received = queued.recv_many(&mut batch, BATCH);
            let quiet = sleep(FLUSHED_AFTER);
            let received = select! {
                biased;
                received = received => received,
                () = quiet, if !is_flushed => {
                    is_flushed = true;
                    if let Err(failure) = self.write(self.store.flush()).await {
                        debug!(?failure, "the shared tier was not flushed");
                    }
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            is_flushed = false;
            let records = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            let (seal, max_bytes) = (Arc::clone(&self.seal), self.limits.max_entry_bytes);
            let closed = spawn_blocking(move || close_all(records, &seal, max_bytes)).await;
            let Ok((envelopes, _room)) = closed else {
                failed.increment(1);
                continue;
            };
            if let Err(failure) = self.write(self.store.put(envelopes)).await {
                failed.increment(1);
                debug!(?failure, "answers were not written to the shared tier");
            }
        }
    }

    async fn write(
        &self,
        call: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), Failure<StoreError>> {
        self.guard.write(&self.tenant, WRITE_TIMEOUT, call).await
    }
}

fn miss(failure: Failure<StoreError>) -> Miss {
    match failure {
        Failure::Open => Miss::Open,
        Failure::Crowded => Miss::Crowded,
        Failure::TimedOut => Miss::TooSlow,
        Failure::Failed(error) => {
            debug!(%error, "the shared tier failed");
            Miss::Failed
        }
    }
}

/// The envelopes of records that can be encoded, and the room that they take in the queue.
fn close_all<V: Portable>(
    records: Vec<Queued<V>>,
    seal: &Seal,
    max_bytes: usize,
) -> (Vec<Envelope>, Vec<OwnedSemaphorePermit>) {
    let now = Moment::now();
    let close = |Queued { key, record, _room: room }: Queued<V>| {
        let age = record.age(now);
        let content = record.encode(now, max_bytes).ok()?;
        let envelope = Envelope {
            key,
            bytes: seal.close(&key, &content),
            ttl: record.shared.kept().saturating_sub(age),
        };
        Some((envelope, room))
    };
    records.into_iter().filter_map(close).unzip()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::HashMap;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use async_trait::async_trait;
    use bytes::BufMut as _;
    use tokio::sync::Notify;
    use weir_core::{Chain, Commit, Position};

    use super::*;
    use crate::encoding::{DecodeError, EncodeError};
    use crate::envelope::OpenError;
    use crate::lifetime::Lifetime;
    use crate::reads::Dependencies;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Plain(Vec<u8>);

    impl Portable for Plain {
        const FORMAT: [u8; 4] = *b"tst1";

        fn weight_bytes(&self) -> u32 {
            self.0.len() as u32
        }

        fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
            out.put_slice(&self.0);
            Ok(())
        }

        fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
            Ok(Self(bytes.to_vec()))
        }
    }

    /// A store in memory that can fail, wait and forge.
    #[derive(Default)]
    struct Fake {
        envelopes: Mutex<HashMap<CacheKey, Vec<u8>>>,
        flushes: AtomicUsize,
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
                return Err(StoreError("out of order".into()));
            }
            Ok(self.envelopes.lock().get(key).cloned())
        }

        async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
            if let Some(waits) = &self.waits {
                waits.notified().await;
            }
            if self.fails {
                return Err(StoreError("out of order".into()));
            }
            let mut kept = self.envelopes.lock();
            kept.extend(envelopes.into_iter().map(|envelope| (envelope.key, envelope.bytes)));
            Ok(())
        }

        async fn flush(&self) -> Result<(), StoreError> {
            self.flushes.fetch_add(1, Relaxed);
            Ok(())
        }

        async fn close(&self) {}
    }

    const LIMITS: Limits = Limits {
        lookup_budget: Duration::from_secs(60),
        max_entry_bytes: 1 << 20,
        max_queued_bytes: 4 << 10,
    };

    fn tier(store: &Arc<Fake>, truth: u8) -> SharedTier<Plain> {
        let (store, guard) = (Arc::clone(store), Arc::new(Guard::new(10, || {})));
        let seal = Seal::new([truth; 16], &[truth; 32]);
        SharedTier::start(Name::new("tenant").unwrap(), store, guard, seal, LIMITS)
    }

    fn key(number: u8) -> CacheKey {
        CacheKey::from_bytes([number; 32])
    }

    fn record(value: &[u8]) -> Record<Plain> {
        Record {
            value: Plain(value.to_vec()),
            as_of: Commit { position: Position(7), chain: Chain(1) },
            depends_on: Dependencies::default(),
            stored_at: Moment::now(),
            compute: Duration::ZERO,
            shared: Lifetime::of(Duration::from_secs(60)),
            memory: None,
        }
    }

    #[tokio::test]
    async fn what_is_put_is_found_by_nodes_of_the_same_truth() {
        let store = Arc::new(Fake::default());
        let ours = tier(&store, 1);
        ours.put(key(1), record(b"small"));
        ours.put(key(2), record(&[7; 200_000]));
        ours.close().await;
        // The second one was larger than the queue.
        let ours = tier(&store, 1);
        assert_eq!(ours.look_up(&key(1)).await.unwrap().value, Plain(b"small".to_vec()));
        assert_eq!(ours.look_up(&key(2)).await.unwrap_err(), Miss::Absent);
        let refused = tier(&store, 2).look_up(&key(1)).await.unwrap_err();
        assert_eq!(refused, Miss::Envelope(OpenError::OtherTruth));
        // Large ones are opened on another thread.
        let (content, seal) = (record(&[7; 200_000]), Seal::new([1; 16], &[1; 32]));
        let content = content.encode(Moment::now(), 1 << 20).unwrap();
        let large = seal.close(&key(2), &content);
        store.envelopes.lock().insert(key(2), large);
        assert_eq!(ours.look_up(&key(2)).await.unwrap().value, Plain(vec![7; 200_000]));
    }

    #[tokio::test]
    async fn whatever_the_store_returns_is_at_most_a_miss() {
        let store = Arc::new(Fake::default());
        let tier = tier(&store, 1);
        let seal = Seal::new([1; 16], &[1; 32]);
        for (bytes, miss) in [
            (b"garbage".to_vec(), Miss::Envelope(OpenError::NotAnEnvelope)),
            (seal.close(&key(2), b""), Miss::Envelope(OpenError::OtherKey)),
            (
                seal.close(&key(1), b"no record"),
                Miss::Record(DecodeError::Format { found: *b"no r" }),
            ),
        ] {
            store.envelopes.lock().insert(key(1), bytes);
            assert_eq!(tier.look_up(&key(1)).await.unwrap_err(), miss);
        }
        let failing = Arc::new(Fake { fails: true, ..Fake::default() });
        let failing = self::tier(&failing, 1);
        failing.put(key(1), record(b"lost"));
        assert_eq!(failing.look_up(&key(1)).await.unwrap_err(), Miss::Failed);
        failing.close().await;
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
        let close = tokio::spawn(async move { tier.close().await });
        while !close.is_finished() {
            stuck.notify_one();
            tokio::task::yield_now().await;
        }
        assert_eq!(store.envelopes.lock().len(), 4);
    }
}
