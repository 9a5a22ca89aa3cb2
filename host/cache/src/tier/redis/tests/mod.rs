//! The store over real Redis servers, which refuse, fail, stop and lie.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod faults;
mod refusals;
mod topologies;
mod values;

use std::fs;
use std::sync::Once;
use std::time::Instant;

use tempfile::TempDir;
use weir_core::name::Name;
use weir_limits::guard::Guard;
use weir_test_redis::RedisServer;

use super::*;
use crate::envelope::Seal;
use crate::tier::testing::{Plain, key, record, tenant};
use crate::tier::{Limits, Miss, SharedTier};

const MAX_ENTRY_BYTES: usize = 1 << 20;
/// Within this time after Redis is back, it is used again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The deadline for what has no promised time. It is generous, because a busy machine is not a failure.
const DEADLINE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config(port: u16) -> RedisConfig {
    // What `main` does.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    RedisConfig {
        topology: Topology::Single,
        servers: vec![("127.0.0.1".to_owned(), port)],
        user: None,
        password_file: None,
        database: 0,
        tls: None,
        key_prefix: "weir:".to_owned(),
        connections: 2,
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        min_reconnect_delay: Duration::from_millis(50),
        max_reconnect_delay: Duration::from_secs(1),
        max_queued_commands: 256,
        max_envelope_bytes: Seal::largest_envelope(MAX_ENTRY_BYTES),
        max_unsent_bytes: 8 << 20,
    }
}

async fn store(config: &RedisConfig) -> RedisStore {
    RedisStore::start(config).await.unwrap()
}

fn seal(truth: u8) -> Seal {
    Seal::new([truth; 16], &[truth; 32])
}

fn envelope(number: u8, bytes: &[u8]) -> Envelope {
    Envelope { key: key(number), bytes: bytes.to_vec(), ttl: DAY }
}

/// Under which key Redis has the envelope of [`key`].
fn name(number: u8) -> String {
    format!("weir:{}", format!("{number:02x}").repeat(32))
}

/// A file with a password.
fn password_file(password: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, format!("{password}\n")).unwrap();
    (folder, path)
}

/// A tier over a store, with the guard between them.
struct Tier {
    store: Arc<RedisStore>,
    guard: Arc<Guard<Name>>,
    tier: SharedTier<Plain>,
}

impl Tier {
    async fn over(config: &RedisConfig) -> Self {
        let store = Arc::new(store(config).await);
        let stuck = Arc::clone(&store);
        let guard = Arc::new(Guard::new(64, move || stuck.reconnect()));
        let tier = Self::of_truth(1, &store, &guard);
        Self { store, guard, tier }
    }

    fn of_truth(truth: u8, store: &Arc<RedisStore>, guard: &Arc<Guard<Name>>) -> SharedTier<Plain> {
        let limits = Limits {
            lookup_budget: Duration::from_millis(200),
            max_entry_bytes: MAX_ENTRY_BYTES,
            max_queued_bytes: 4 << 20,
        };
        let (store, guard) = (Arc::clone(store), Arc::clone(guard));
        SharedTier::start(tenant(), store, guard, seal(truth), limits)
    }

    async fn look_up(&self, number: u8) -> Result<Vec<u8>, Miss> {
        self.tier.look_up(&key(number)).await.map(|record| record.value.0)
    }

    /// Puts a record, and looks it up until it is found. Returns how long that took.
    async fn works(&self, number: u8) -> Duration {
        let started = Instant::now();
        let value = [number; 100];
        loop {
            // What was written while it did not work is lost.
            self.tier.put(key(number), record(&value));
            match self.look_up(number).await {
                Ok(found) => {
                    assert_eq!(found, value);
                    return started.elapsed();
                }
                Err(miss) => assert!(started.elapsed() < DEADLINE, "{miss:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks up until it misses for one of these reasons.
    async fn misses(&self, number: u8, reasons: &[Miss]) {
        let started = Instant::now();
        loop {
            let found = self.look_up(number).await;
            if found.as_ref().is_err_and(|miss| reasons.contains(miss)) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{found:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Tries until it works.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let started = Instant::now();
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn envelopes_are_found_replaced_and_end_with_their_ttl() {
    let redis = RedisServer::start();
    let store = store(&config(redis.port())).await;
    assert_eq!(store.get(&key(1)).await.unwrap(), None);
    store.put(vec![envelope(1, b"old"), envelope(2, b"other")]).await.unwrap();
    store.put(vec![envelope(1, b"new")]).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(store.get(&key(2)).await.unwrap().as_deref(), Some(&b"other"[..]));
    assert_eq!(redis.get(&name(1)).as_deref(), Some(&b"new"[..]));

    let of_ttl = |number, ttl| Envelope { ttl, ..envelope(number, b"ends") };
    let (second, forever) = (Duration::from_secs(1), Duration::MAX);
    let zero = Duration::from_micros(999);
    store.put(vec![of_ttl(3, second), of_ttl(4, forever), of_ttl(5, zero)]).await.unwrap();
    assert!(redis.run(&["PTTL", &name(1)]).text().starts_with("86"), "a day");
    assert!(redis.get(&name(4)).is_some() && redis.get(&name(5)).is_none());
    redis.wait_for(&["EXISTS", &name(3)], |said| said == "0");
    assert_eq!(store.get(&key(3)).await.unwrap(), None);
    store.flush().await.unwrap();
    store.close().await;
    assert!(store.get(&key(1)).await.is_err());
    redis.wait_for(&["INFO", "clients"], |said| said.contains("connected_clients:1\r"));
}

#[tokio::test]
async fn many_envelopes_go_to_redis_at_once_and_within_bounds() {
    let redis = RedisServer::start();
    let store = store(&config(redis.port())).await;
    // Twice what may be unsent.
    let large: Vec<_> = (0..64).map(|number| envelope(number, &[number; 256 << 10])).collect();
    store.put(large).await.unwrap();
    for number in 0..64 {
        assert_eq!(store.get(&key(number)).await.unwrap().unwrap(), [number; 256 << 10]);
    }
    assert_eq!(store.unsent.available_permits(), store.unsent_units as usize);
    assert_eq!(redis.keys().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_not_accepted_is_bounded() {
    let redis = RedisServer::start();
    let slow = RedisConfig { command_timeout: DEADLINE, ..config(redis.port()) };
    let store = Arc::new(store(&slow).await);
    redis.stop();
    let large: Vec<_> = (0..64).map(|number| envelope(number, &[number; 256 << 10])).collect();
    let puts = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.put(large).await }
    });
    while store.unsent.available_permits() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whoever put them leaves. What the client still holds stays charged.
    puts.abort();
    assert!(puts.await.unwrap_err().is_cancelled());
    assert!(store.unsent.available_permits() < store.unsent_units as usize);
    redis.go_on();
    redis.wait_for(&["DBSIZE"], |said| said == "32");
    let started = Instant::now();
    while store.unsent.available_permits() < store.unsent_units as usize {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tiers_share_a_store_that_is_closed_once_after_them() {
    let redis = RedisServer::start();
    let first = Tier::over(&config(redis.port())).await;
    let second = Tier::of_truth(2, &first.store, &first.guard);
    first.tier.put(key(1), record(b"first"));
    second.put(key(2), record(b"second"));
    first.tier.drain().await;
    assert!(second.put(key(3), record(b"later")));
    second.drain().await;
    assert_eq!(redis.keys().len(), 3);
    first.store.close().await;
}
