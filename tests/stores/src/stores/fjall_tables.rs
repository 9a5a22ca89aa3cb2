//! fjall with the tables that Weir's store has in redb: envelopes by key, and two orders in which they go.
//!
//! Envelopes are blobs, apart from the tree, which was the better of the two when both were tried. Where the
//! two orders begin is remembered, because an LSM tree walks over all that was removed before its first row;
//! and they hold what a removal needs, so that no envelope is read to remove it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    OwnedWriteBatch, PersistMode, config::CompressionPolicy,
};
use tokio::sync::Mutex;
use weir_cache::CacheKey;
use weir_cache::tier::{Envelope, EnvelopeStore, StoreError};

use super::{DURABLE_EVERY, PAGE_CACHE_BYTES, blocking, expiry_ms, split_number, unix_ms};

/// The least that fjall allows.
const JOURNAL_BYTES: u64 = 64 << 20;
/// All envelopes are at least as large.
const BLOBS_FROM_BYTES: u32 = 1 << 10;
/// Blobs are collected by file; the more files the limit takes, the less waits to be collected.
const BLOB_FILE_BYTES: u64 = 16 << 20;
const MEMTABLE_BYTES: u64 = 16 << 20;
/// What a row in each of the tables is taken to need in addition to the envelope.
const ROWS_BYTES: u64 = 256;
/// As in Weir's store.
const EXPIRED_AT_ONCE: usize = 256;

pub(super) struct FjallTables {
    tables: Tables,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Clone)]
struct Tables {
    database: Database,
    /// By key: sequence, expiry, bytes.
    envelopes: Keyspace,
    /// By sequence: expiry, size, key.
    by_age: Keyspace,
    /// By expiry and sequence: size, key.
    by_expiry: Keyspace,
}

struct Writer {
    max_bytes: u64,
    bytes: u64,
    next: u64,
    /// Nothing is before these.
    oldest: u64,
    first_expiry: [u8; 16],
    durable_at: Instant,
}

impl FjallTables {
    pub(super) fn open(folder: &Path, max_bytes: u64) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(PAGE_CACHE_BYTES as u64)
            .max_journaling_size(JOURNAL_BYTES)
            .journal_compression(CompressionType::None)
            .open()?;
        let small = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let blobs = KvSeparationOptions::default()
            .compression(CompressionType::None)
            .separation_threshold(BLOBS_FROM_BYTES)
            .file_target_size(BLOB_FILE_BYTES);
        let tables = Tables {
            envelopes: database
                .keyspace("envelopes", || small().with_kv_separation(Some(blobs)))?,
            by_age: database.keyspace("by-age", small)?,
            by_expiry: database.keyspace("by-expiry", small)?,
            database,
        };
        let writer = Writer {
            max_bytes,
            bytes: 0,
            next: 0,
            oldest: 0,
            first_expiry: [0; 16],
            durable_at: Instant::now(),
        };
        Ok(Self { tables, writer: Arc::new(Mutex::new(writer)) })
    }
}

#[async_trait]
impl EnvelopeStore for FjallTables {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        let (envelopes, key) = (self.tables.envelopes.clone(), *key);
        blocking(move || {
            let found = envelopes.get(key.as_bytes())?;
            let bytes =
                found.as_deref().and_then(split_number).and_then(|(_, rest)| split_number(rest));
            Ok(bytes.map(|(_, bytes)| bytes.to_vec()))
        })
        .await
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        let (tables, mut writer) =
            (self.tables.clone(), Arc::clone(&self.writer).lock_owned().await);
        blocking(move || writer.put(&tables, envelopes)).await
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

impl Writer {
    fn put(&mut self, tables: &Tables, envelopes: Vec<Envelope>) -> fjall::Result<()> {
        let mut batch = tables.database.batch();
        for envelope in envelopes {
            self.insert(tables, &mut batch, &envelope)?;
        }
        // What goes must be visible before it can be looked for: a batch cannot be read.
        batch.commit()?;
        let mut batch = tables.database.batch();
        self.expire(tables, &mut batch)?;
        batch.commit()?;
        let mut batch = tables.database.batch();
        self.evict(tables, &mut batch)?;
        batch.commit()?;
        if self.durable_at.elapsed() >= DURABLE_EVERY {
            tables.database.persist(PersistMode::SyncAll)?;
            self.durable_at = Instant::now();
        }
        Ok(())
    }

    fn insert(
        &mut self,
        tables: &Tables,
        batch: &mut OwnedWriteBatch,
        envelope: &Envelope,
    ) -> fjall::Result<()> {
        let key = envelope.key.as_bytes();
        let size = envelope.bytes.len() as u64 + ROWS_BYTES;
        if let Some(before) = tables.envelopes.get(key)?
            && let Some((sequence, rest)) = split_number(&before)
            && let Some((expiry, bytes)) = split_number(rest)
        {
            let size = bytes.len() as u64 + ROWS_BYTES;
            self.remove(tables, batch, &Row { sequence, expiry, size, key: None });
        }
        let (sequence, expiry) = (self.next, expiry_ms(envelope.ttl));
        self.next += 1;
        let numbers = [sequence.to_be_bytes(), expiry.to_be_bytes()].concat();
        batch.insert(
            &tables.envelopes,
            key.as_slice(),
            [&numbers, envelope.bytes.as_slice()].concat(),
        );
        let size_bytes = size.to_be_bytes();
        let of_age = [expiry.to_be_bytes().as_slice(), &size_bytes, key].concat();
        batch.insert(&tables.by_age, sequence.to_be_bytes(), of_age);
        let by_expiry = [expiry.to_be_bytes(), sequence.to_be_bytes()].concat();
        batch.insert(&tables.by_expiry, by_expiry, [size_bytes.as_slice(), key].concat());
        self.bytes += size;
        Ok(())
    }

    /// Removes envelopes whose ttl has passed, a bounded number of them.
    fn expire(&mut self, tables: &Tables, batch: &mut OwnedWriteBatch) -> fjall::Result<()> {
        let mut over = [0xff; 16];
        over[..8].copy_from_slice(&unix_ms().to_be_bytes());
        for found in tables.by_expiry.range(self.first_expiry..=over).take(EXPIRED_AT_ONCE) {
            let (by, of) = found.into_inner()?;
            let Some(row) = Row::by_expiry(&by, &of) else { break };
            self.remove(tables, batch, &row);
            self.first_expiry = row.by_expiry_bytes();
        }
        Ok(())
    }

    /// Removes the oldest envelopes until the rest takes at most `max_bytes`.
    fn evict(&mut self, tables: &Tables, batch: &mut OwnedWriteBatch) -> fjall::Result<()> {
        if self.bytes <= self.max_bytes {
            return Ok(());
        }
        for found in tables.by_age.range(self.oldest.to_be_bytes()..) {
            let (by, of) = found.into_inner()?;
            let Some(row) = Row::by_age(&by, &of) else { break };
            self.remove(tables, batch, &row);
            self.oldest = row.sequence + 1;
            if self.bytes <= self.max_bytes {
                break;
            }
        }
        Ok(())
    }

    fn remove(&mut self, tables: &Tables, batch: &mut OwnedWriteBatch, row: &Row) {
        // Without a key, the envelope is replaced.
        if let Some(key) = row.key {
            batch.remove(&tables.envelopes, key);
        }
        batch.remove(&tables.by_age, row.sequence.to_be_bytes());
        batch.remove(&tables.by_expiry, row.by_expiry_bytes());
        self.bytes = self.bytes.saturating_sub(row.size);
    }
}

/// What the tables say of an envelope.
struct Row {
    sequence: u64,
    expiry: u64,
    size: u64,
    key: Option<[u8; 32]>,
}

impl Row {
    fn by_age(by: &[u8], of: &[u8]) -> Option<Self> {
        let (sequence, _) = split_number(by)?;
        let (expiry, rest) = split_number(of)?;
        let (size, key) = split_number(rest)?;
        Some(Self { sequence, expiry, size, key: key.try_into().ok() })
    }

    fn by_expiry(by: &[u8], of: &[u8]) -> Option<Self> {
        let (expiry, rest) = split_number(by)?;
        let (sequence, _) = split_number(rest)?;
        let (size, key) = split_number(of)?;
        Some(Self { sequence, expiry, size, key: key.try_into().ok() })
    }

    fn by_expiry_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.expiry.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}
