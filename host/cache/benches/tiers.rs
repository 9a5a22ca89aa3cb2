//! What a hit of the shared tier costs, and what an entry takes.
//!
//! Run by `cargo xtask bench cache`, which names a file of answers, one a line. They are put into a shared
//! tier on a private Redis and into one on disk, and looked up, one after another, with all checks: what a
//! node wrote, for this key, authenticated, decompressed and decoded. In turns with that, fred alone sends a
//! `GET` for the same bytes over one connection. Prints one line of JSON. Out of scope: HTTP, and what a server checks of an
//! answer that is found.

#![expect(clippy::unwrap_used, reason = "a benchmark ends by panicking")]

use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike as _, KeysInterface as _};
use fred::types::config::{Config, ServerConfig};
use weir_cache::CacheKey;
use weir_cache::encoding::{DecodeError, EncodeError, Portable, Record};
use weir_cache::entry::Moment;
use weir_cache::envelope::Seal;
use weir_cache::lifetime::Lifetime;
use weir_cache::reads::{Dependencies, Read, ReadSet};
use weir_cache::tier::disk::{DiskLimits, DiskStore};
use weir_cache::tier::redis::{RedisConfig, RedisStore, Topology};
use weir_cache::tier::{EnvelopeStore, Limits, SharedTier};
use weir_core::name::Name;
use weir_core::{Chain, Commit, Position};
use weir_limits::guard::Guard;
use weir_test_redis::RedisServer;

/// The tiers are measured in turns.
const ROUNDS: usize = 15;
/// How often each answer is looked up in a round.
const TIMES: usize = 20;
const MAX_ENTRY_BYTES: usize = 1 << 20;
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// An answer's body.
struct Answer(Vec<u8>);

impl Portable for Answer {
    const FORMAT: [u8; 4] = *b"ben1";

    fn weight_bytes(&self) -> u32 {
        self.0.len() as u32
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(bytes.to_vec()))
    }
}

fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let file = env::var("WEIR_BENCH_ANSWERS").unwrap();
    let text = fs::read_to_string(file).unwrap();
    let answers: Vec<_> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&answers));
}

async fn measure(answers: &[Vec<u8>]) {
    let server = RedisServer::start();
    let redis: Arc<dyn EnvelopeStore> =
        Arc::new(RedisStore::start(&redis_config(server.port())).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let limits = DiskLimits { max_bytes: 1 << 30, page_cache_bytes: 32 << 20 };
    let disk: Arc<dyn EnvelopeStore> = Arc::new(DiskStore::open(folder.path(), limits));
    let (on_redis, on_disk) = (tier(Arc::clone(&redis)), tier(Arc::clone(&disk)));
    for (number, answer) in answers.iter().enumerate() {
        assert!(on_redis.put(key(number), record(answer)));
        assert!(on_disk.put(key(number), record(answer)));
        if number % 64 == 63 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for tier in [&on_redis, &on_disk] {
        for number in 0..answers.len() {
            while tier.look_up(&key(number)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let bare = bare(&server).await;
    let seal = Seal::new([1; 16], &[2; 32]);
    let stored: Vec<Vec<u8>> = answers
        .iter()
        .enumerate()
        .map(|(number, answer)| envelope(&seal, number, answer))
        .collect();
    for (number, envelope) in stored.iter().enumerate() {
        let () = bare
            .set(format!("bare:{number}"), envelope.as_slice(), None, None, false)
            .await
            .unwrap();
    }
    let (mut of_redis, mut of_bare, mut of_disk) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for number in (0..answers.len()).cycle().take(answers.len() * TIMES) {
            let began = Instant::now();
            let bytes: Vec<u8> = bare.get(format!("bare:{number}")).await.unwrap();
            of_bare.push(began.elapsed());
            assert_eq!(bytes.len(), stored[number].len());
            let began = Instant::now();
            assert!(on_redis.look_up(&key(number)).await.is_ok());
            of_redis.push(began.elapsed());
            let began = Instant::now();
            assert!(on_disk.look_up(&key(number)).await.is_ok());
            of_disk.push(began.elapsed());
        }
    }
    on_redis.drain().await;
    on_disk.drain().await;
    redis.close().await;
    disk.close().await;
    let raw: usize = answers.iter().map(Vec::len).sum();
    let kept: usize = stored.iter().map(Vec::len).sum();
    println!(
        "{{\"answers\":{},\"raw_bytes\":{raw},\"stored_bytes\":{kept},\"redis_us\":{:.1},\"bare_us\":{:.1},\"disk_us\":{:.1}}}",
        answers.len(),
        median_us(of_redis),
        median_us(of_bare),
        median_us(of_disk),
    );
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn key(number: usize) -> CacheKey {
    CacheKey::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn record(answer: &[u8]) -> Record<Answer> {
    let mut reads = ReadSet::default();
    reads.insert(Read::Collection(Name::new("bench").unwrap()));
    Record {
        value: Answer(answer.to_vec()),
        as_of: Commit { position: Position(7), chain: Chain(1) },
        depends_on: Dependencies::new(reads, Vec::new()),
        stored_at: Moment::now(),
        compute: Duration::from_millis(5),
        shared: Lifetime::of(Duration::from_secs(86_400)),
        memory: Some(Lifetime::of(Duration::from_secs(3_600))),
    }
}

/// An answer as the tiers store it.
fn envelope(seal: &Seal, number: usize, answer: &[u8]) -> Vec<u8> {
    seal.close(&key(number), &record(answer).encode(Moment::now(), MAX_ENTRY_BYTES).unwrap())
}

fn tier(store: Arc<dyn EnvelopeStore>) -> SharedTier<Answer> {
    let limits = Limits {
        lookup_budget: Duration::from_secs(1),
        max_entry_bytes: MAX_ENTRY_BYTES,
        max_queued_bytes: MAX_QUEUED_BYTES,
    };
    let guard = Arc::new(Guard::new(64, || {}));
    let tenant = Name::new("bench").unwrap();
    SharedTier::start(tenant, store, guard, Seal::new([1; 16], &[2; 32]), limits)
}

/// fred with its defaults.
async fn bare(server: &RedisServer) -> fred::clients::Client {
    let config = Config {
        server: ServerConfig::new_centralized("127.0.0.1", server.port()),
        ..Config::default()
    };
    let client = fred::types::Builder::from_config(config).build().unwrap();
    client.init().await.unwrap();
    client
}

fn redis_config(port: u16) -> RedisConfig {
    RedisConfig {
        topology: Topology::Single,
        servers: vec![("127.0.0.1".to_owned(), port)],
        user: None,
        password_file: None,
        database: 0,
        tls: None,
        key_prefix: "weir:".to_owned(),
        connections: 10,
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        min_reconnect_delay: Duration::from_millis(50),
        max_reconnect_delay: Duration::from_secs(2),
        max_queued_commands: 1_024,
        max_envelope_bytes: Seal::largest_envelope(MAX_ENTRY_BYTES),
        max_unsent_bytes: MAX_QUEUED_BYTES,
    }
}
