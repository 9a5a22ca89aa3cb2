//! foyer's block engine, behind the smallest memory tier that its hybrid cache allows: one entry.
//!
//! It evicts whole blocks, the oldest first, and has no ttl: readers check it. A write is queued, and
//! dropped without a word when the queue is full; so it is measured in two ways.

use std::path::Path;

use async_trait::async_trait;
use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};
use weir_cache::CacheKey;
use weir_cache::tier::{Envelope, EnvelopeStore, StoreError};

use super::{expiry_ms, split_number, unavailable, unix_ms};

/// The limit is so many blocks, each of which is evicted as a whole.
const BLOCKS: u64 = 32;

/// What a write waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Puts {
    /// For nothing.
    Told,
    /// Until the batch is in the file.
    Waited,
}

pub(super) struct Foyer {
    /// From a key to an expiry and bytes.
    cache: HybridCache<Vec<u8>, Vec<u8>>,
    puts: Puts,
}

impl Foyer {
    pub(super) async fn open(folder: &Path, max_bytes: u64, puts: Puts) -> foyer::Result<Self> {
        let device = FsDeviceBuilder::new(folder).with_capacity(max_bytes as usize).build()?;
        let engine = BlockEngineConfig::new(device).with_block_size((max_bytes / BLOCKS) as usize);
        let cache = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_engine_config(engine)
            .build()
            .await?;
        Ok(Self { cache, puts })
    }
}

#[async_trait]
impl EnvelopeStore for Foyer {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.cache.get(&key.as_bytes().to_vec()).await.map_err(unavailable)?;
        let found = found.as_ref().and_then(|entry| split_number(entry.value()));
        let live = found.filter(|(expiry, _)| *expiry > unix_ms());
        Ok(live.map(|(_, bytes)| bytes.to_vec()))
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        for envelope in envelopes {
            let expiry = expiry_ms(envelope.ttl).to_be_bytes();
            let value = [expiry.as_slice(), &envelope.bytes].concat();
            // To the disk only.
            self.cache.storage_writer(envelope.key.as_bytes().to_vec()).force().insert(value);
        }
        if self.puts == Puts::Waited {
            self.cache.storage().wait().await;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.cache.storage().wait().await;
        Ok(())
    }

    async fn close(&self) {
        let _ = self.cache.close().await;
    }
}
