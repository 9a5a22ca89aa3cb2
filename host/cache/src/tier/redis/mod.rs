//! A store of envelopes in a Redis, which several nodes can share: one server, a primary with Sentinels,
//! or a Cluster.
//!
//! Redis is a cache: it may lose everything at any time, and evicts as it is configured. Starting does not
//! depend on it. While it cannot be reached, every call fails at once, and is a miss.
//!
//! [`settings`] has what is configured, [`connections`] come back after failures, and [`trouble`] says how
//! to mend them. Nothing outside this folder names a type of the client, fred.
//!
//! Out of scope: what the envelopes are, and whether they are still true.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use fred::types::Expiration;
use fred::types::config::Options;
use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Envelope, EnvelopeStore, StoreError};
use crate::CacheKey;
use crate::entry::whole_ms;

mod connections;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod unanswered;

use self::connections::{Connections, Settings};
pub use self::settings::{RedisConfig, SetUpError, Topology, Trust};
use self::trouble::{Trouble, TroubleLog};
use self::unanswered::{Call, Unanswered};

/// Redis adds a ttl to its clock, and refuses what does not fit. Nothing is worth keeping so long.
const LONGEST_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How many envelopes are asked for at once for one caller.
const GETS_AT_ONCE: usize = 16;
/// What unsent envelopes are charged in.
const UNIT_BYTES: usize = 1 << 10;

/// A store of envelopes in a Redis.
pub struct RedisStore {
    connections: Connections,
    key_prefix: String,
    max_envelope_bytes: usize,
    unsent: Arc<Semaphore>,
    unsent_units: u32,
}

impl RedisStore {
    /// Checks the files that `config` names, without connecting. Blocks.
    ///
    /// # Errors
    /// [`start`](Self::start) would fail.
    pub fn check(config: &RedisConfig) -> Result<(), SetUpError> {
        Settings::load(config).map(drop)
    }

    /// Begins to connect, and waits until that has worked or failed once, but no longer than it may take.
    /// A Redis that cannot be reached is logged, and tried again. Call this within a tokio runtime.
    ///
    /// # Errors
    /// A file that `config` names cannot be used.
    pub async fn start(config: &RedisConfig) -> Result<Self, SetUpError> {
        let settings = Settings::load(config)?;
        let servers = config.servers.iter().map(|(host, port)| format!("{host}:{port}"));
        let log = Arc::new(TroubleLog::new(servers.collect::<Vec<_>>().join(" ")));
        let connections = Connections::start(settings, log)?;
        connections.tried(config.connect_timeout).await;
        let units = (config.max_unsent_bytes / UNIT_BYTES).clamp(1, u32::MAX as usize >> 3);
        Ok(Self {
            connections,
            key_prefix: config.key_prefix.clone(),
            max_envelope_bytes: config.max_envelope_bytes,
            unsent: Arc::new(Semaphore::new(units)),
            unsent_units: units as u32,
        })
    }

    /// Gives up all connections and makes others: nobody answers on them. Call this within a tokio
    /// runtime; it does not block.
    pub fn reconnect(&self) {
        self.connections.replace();
    }

    fn name(&self, key: &CacheKey) -> String {
        format!("{}{key}", self.key_prefix)
    }

    /// A connection, whose commands fail at once while it is not connected.
    fn connection(&self) -> (WithOptions<Client>, Arc<Unanswered>) {
        let options = Options { fail_fast: true, ..Options::default() };
        let (client, unanswered) = self.connections.next();
        (client.with_options(&options), unanswered)
    }

    /// Notes how a call has ended. Its caller may have left before.
    fn ended<T>(&self, call: Call, result: Result<T, Error>) -> Result<T, StoreError> {
        let error = match result {
            Ok(found) => {
                call.answered();
                return Ok(found);
            }
            Err(error) => error,
        };
        let trouble = self.connections.failed(&error);
        if trouble != Trouble::Unanswered {
            call.answered();
        }
        Err(trouble.error(&error))
    }

    /// The right to hold an envelope until Redis has it. One that is larger than all may be goes alone.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.unsent_units);
        let room = Arc::clone(&self.unsent).acquire_many_owned(units).await;
        room.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    async fn put_one(
        &self,
        (connection, unanswered): &(WithOptions<Client>, Arc<Unanswered>),
        envelope: Envelope,
    ) -> Result<(), StoreError> {
        let ttl_ms = whole_ms(envelope.ttl.min(LONGEST_TTL));
        if ttl_ms == 0 {
            return Ok(());
        }
        let expiration = Expiration::PX(i64::try_from(ttl_ms).unwrap_or(i64::MAX));
        let room = self.room(envelope.bytes.len()).await?;
        let bytes = Bytes::from_owner(Unsent { bytes: envelope.bytes, _room: room });
        let name = self.name(&envelope.key);
        let call = unanswered.call(&name);
        let set = connection.set::<(), _, _>(name, bytes, Some(expiration), None, false);
        self.ended(call, set.await)
    }
}

/// An envelope that the client holds, also after whoever put it has left.
struct Unsent {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[async_trait]
impl EnvelopeStore for RedisStore {
    /// Reads no more than is needed to see that a value is too large.
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.name(key);
        let (connection, unanswered) = self.connection();
        let call = unanswered.call(&name);
        let read = connection.getrange(name, 0, self.max_envelope_bytes).await;
        let found: Bytes = self.ended(call, read)?;
        // What is not there reads as empty, and no envelope is.
        Ok((!found.is_empty()).then(|| found.into()))
    }

    async fn get_all(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        // A few at once: each may be as large as an envelope.
        let gets: Vec<_> = keys.iter().map(|key| self.get(key)).collect();
        stream::iter(gets).buffered(GETS_AT_ONCE).try_collect().await
    }

    /// Sends all of them before it waits for the answers. If some fail, the first failure is returned.
    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        let connection = self.connection();
        let puts = envelopes.into_iter().map(|envelope| self.put_one(&connection, envelope));
        join_all(puts).await.into_iter().collect()
    }

    /// Redis decides what is durable.
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
