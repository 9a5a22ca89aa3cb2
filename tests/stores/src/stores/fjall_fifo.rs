//! fjall with its FIFO compaction, which drops whole files of what is oldest.
//!
//! It needs keys in the order of their writes, and nothing removed. So envelopes are by sequence, and a
//! second table says which sequence a key has; its compaction filter removes rows of envelopes that are
//! gone. The compaction's own ttl is one for all envelopes, so readers check the ttl of each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use fjall::compaction::Fifo;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    config::CompressionPolicy,
};
use tokio::sync::Mutex;
use weir_cache::CacheKey;
use weir_cache::tier::{Envelope, EnvelopeStore, StoreError};

use super::{DURABLE_EVERY, PAGE_CACHE_BYTES, blocking, expiry_ms, split_number, unix_ms};

/// The least that fjall allows.
const JOURNAL_BYTES: u64 = 64 << 20;
/// A file of envelopes is as large. What is dropped at once is, too.
const MEMTABLE_BYTES: u64 = 16 << 20;
const SEQUENCES: &str = "sequences";

pub(super) struct FjallFifo {
    tables: Tables,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Clone)]
struct Tables {
    database: Database,
    /// By sequence: expiry, key, bytes.
    envelopes: Keyspace,
    /// By key: sequence.
    sequences: Keyspace,
}

struct Writer {
    next: u64,
    /// The first sequence that is still there.
    oldest: Arc<AtomicU64>,
    durable_at: Instant,
}

impl FjallFifo {
    pub(super) fn open(folder: &Path, max_bytes: u64) -> fjall::Result<Self> {
        let oldest = Arc::new(AtomicU64::new(0));
        let gone = Arc::new(Gone(Arc::clone(&oldest)));
        let database = Database::builder(folder)
            .cache_size(PAGE_CACHE_BYTES as u64)
            .max_journaling_size(JOURNAL_BYTES)
            .journal_compression(CompressionType::None)
            .with_compaction_filter_factories(Arc::new(move |keyspace| {
                (keyspace == SEQUENCES).then(|| Arc::clone(&gone) as Arc<dyn Factory>)
            }))
            .open()?;
        let small = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let fifo = Arc::new(Fifo::new(max_bytes, None));
        let tables = Tables {
            envelopes: database.keyspace("envelopes", || small().compaction_strategy(fifo))?,
            sequences: database.keyspace(SEQUENCES, small)?,
            database,
        };
        let writer = Writer { next: 0, oldest, durable_at: Instant::now() };
        Ok(Self { tables, writer: Arc::new(Mutex::new(writer)) })
    }
}

#[async_trait]
impl EnvelopeStore for FjallFifo {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        let (tables, key) = (self.tables.clone(), *key);
        blocking(move || tables.get(&key)).await
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        let (tables, mut writer) =
            (self.tables.clone(), Arc::clone(&self.writer).lock_owned().await);
        blocking(move || writer.put(&tables, &envelopes)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let database = self.tables.database.clone();
        blocking(move || database.persist(PersistMode::SyncAll)).await
    }

    async fn close(&self) {
        // It closes when it is dropped.
        let _ = self.flush().await;
    }
}

impl Tables {
    fn get(&self, key: &CacheKey) -> fjall::Result<Option<Vec<u8>>> {
        let Some(sequence) = self.sequences.get(key.as_bytes())? else { return Ok(None) };
        let Some(found) = self.envelopes.get(sequence)? else { return Ok(None) };
        let live = split_number(&found).filter(|(expiry, _)| *expiry > unix_ms());
        let bytes = live.and_then(|(_, rest)| rest.strip_prefix(key.as_bytes()));
        Ok(bytes.map(<[u8]>::to_vec))
    }
}

impl Writer {
    fn put(&mut self, tables: &Tables, envelopes: &[Envelope]) -> fjall::Result<()> {
        let mut batch = tables.database.batch();
        for envelope in envelopes {
            let key = envelope.key.as_bytes();
            let sequence = self.next.to_be_bytes();
            self.next += 1;
            let expiry = expiry_ms(envelope.ttl).to_be_bytes();
            let row = [expiry.as_slice(), key, envelope.bytes.as_slice()].concat();
            batch.insert(&tables.envelopes, sequence, row);
            batch.insert(&tables.sequences, key.as_slice(), sequence);
        }
        batch.commit()?;
        if self.durable_at.elapsed() >= DURABLE_EVERY {
            tables.database.persist(PersistMode::SyncAll)?;
            self.durable_at = Instant::now();
        }
        if let Some(first) = tables.envelopes.first_key_value()
            && let Some((oldest, _)) = split_number(&first.key()?)
        {
            self.oldest.store(oldest, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Removes the sequences of envelopes that are gone.
struct Gone(Arc<AtomicU64>);

impl Factory for Gone {
    fn name(&self) -> &str {
        "gone"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Before(self.0.load(Ordering::Relaxed)))
    }
}

struct Before(u64);

impl CompactionFilter for Before {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        let is_gone = split_number(&value).is_some_and(|(sequence, _)| sequence < self.0);
        Ok(if is_gone { Verdict::Remove } else { Verdict::Keep })
    }
}
