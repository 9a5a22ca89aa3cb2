//! What callers see of the shared tier: a lookup within a budget, and writes that they do not wait
//! for.
//!
//! A record that is put is charged to the queue before it is queued, and until it is written. A task
//! encodes and closes what is queued, as many at once as have arrived, and gives them to the store.
//! A record that finds the queue full is dropped: it would have been a hit, and is nothing worse
//! than a miss.

mod budget;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

use self::budget::Budget;
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
    /// How long a lookup may take at most. Where they are faster, it is waited for a shorter time.
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
    budget: Budget,
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
            budget: Budget::new(limits.lookup_budget),
            room: Arc::new(Semaphore::new(units)),
            writer: Mutex::new(Some(Writer { queue, task })),
            dropped: counter!("weir_cache_shared_dropped_total"),
            values: PhantomData,
        }
    }

    /// The id of the truth whose nodes write here, for keys that do not have it. Others may use the same
    /// store, and would overwrite a record under the same key.
    #[must_use]
    pub fn truth(&self) -> &[u8; 16] {
        self.seal.truth()
    }

    /// How long a lookup may take at most.
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
        let envelope = self.read(|| self.store.get(key)).await?.ok_or(Miss::Absent)?;
        self.open(&[*key], vec![Some(envelope)]).await.pop().unwrap_or(Err(Miss::Failed))
    }

    /// The record under each of these keys, in one call to the store, within the budget for one.
    pub async fn look_up_all(&self, keys: &[CacheKey]) -> Vec<Result<Record<V>, Miss>> {
        match self.read(|| self.store.get_all(keys)).await {
            Ok(envelopes) => self.open(keys, envelopes).await,
            Err(miss) => keys.iter().map(|_| Err(miss)).collect(),
        }
    }

    /// Asks the store, within the budget.
    async fn read<T, F>(&self, call: impl Fn() -> F) -> Result<T, Miss>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = Instant::now();
        let found = self.guard.read(&self.tenant, self.budget.now(), call).await;
        match &found {
            Ok(_) => self.budget.took(began.elapsed()),
            Err(Failure::TimedOut) => self.budget.timed_out(),
            Err(_) => {}
        }
        found.map_err(miss)
    }

    /// Opens what the store has under each of these keys.
    async fn open(
        &self,
        keys: &[CacheKey],
        envelopes: Vec<Option<Vec<u8>>>,
    ) -> Vec<Result<Record<V>, Miss>> {
        let bytes: usize = envelopes.iter().flatten().map(Vec::len).sum();
        let (seal, max_bytes) = (Arc::clone(&self.seal), self.limits.max_entry_bytes);
        let open = move |(key, envelope): (CacheKey, Option<Vec<u8>>)| {
            let envelope = envelope.ok_or(Miss::Absent)?;
            let content = seal.open(&key, &envelope, max_bytes).map_err(Miss::Envelope)?;
            Record::decode(&content, max_bytes, Moment::now()).map_err(Miss::Record)
        };
        // A store that says too little has not said what is missing.
        let envelopes = envelopes.into_iter().chain(std::iter::repeat_with(|| None));
        let found: Vec<_> = keys.iter().copied().zip(envelopes).collect();
        let open_all = move || found.into_iter().map(open).collect();
        if bytes <= LARGE_BYTES {
            return open_all();
        }
        let opened = spawn_blocking(open_all).await;
        opened.unwrap_or_else(|_| keys.iter().map(|_| Err(Miss::Failed)).collect())
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

    /// Writes what is queued. What is put later is dropped. The store stays open, because other tiers may
    /// share it: whoever opened it closes it, after all of them.
    pub async fn drain(&self) {
        let writer = self.writer.lock().take();
        if let Some(Writer { queue, task }) = writer {
            drop(queue);
            if let Err(error) = task.await {
                warn!(%error, "the shared tier's writer failed");
            }
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
mod tests;
