//! What a writer costs the readers of a large collection, and what a small change costs.
//!
//! Run by `cargo xtask bench writers`. A reader searches 100,000 chunks at a fixed rate, in rounds
//! with and without a writer that publishes changed documents, already embedded, without pause.
//! Then changes are made one by one while all of their snapshots are held. Prints one line of
//! JSON. Out of scope: the truth, embedding and HTTP.

#![expect(clippy::unwrap_used, reason = "a benchmark ends by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{MissedTickBehavior, interval};

use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit, Position};
use weir_embedding::Embedding;
use weir_limits::priority::Work;
use weir_limits::threads::FairThreads;
use weir_limits::waited::Waited;
use weir_search::exact::ExactStore;
use weir_search::{
    Base, Content, Epoch, IndexPage, IndexedChunk, IndexedDocument, Query, Snapshot, Unit,
    VectorStore,
};

const CHUNKS: u64 = 100_000;
const DIMENSIONS: usize = 384;
const WORDS: u32 = 5_000;
const TERMS_A_CHUNK: usize = 40;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(10);
/// Searches a second. One takes 30 to 50 ms, so that more of them would measure how they wait for
/// each other.
const RATE: u32 = 10;
/// Changes of one document whose snapshots are all held.
const HELD: u64 = 200;

struct Bench {
    store: ExactStore,
    random: StdRng,
    position: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let random = StdRng::seed_from_u64(1);
        let mut bench = Bench { store: ExactStore::in_memory(DIMENSIONS), random, position: 0 };
        let snapshot = bench.write(0..CHUNKS, Base::Empty, Epoch::Rolled).await;
        let current = Arc::new(RwLock::new(snapshot));
        let question = vector(&mut bench.random);
        let (mut alone, mut disturbed, mut changes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            alone.push(p99(read(&current, &question).await));
            let stop = Arc::new(AtomicBool::new(false));
            let writer = tokio::spawn(write_until(bench, Arc::clone(&current), Arc::clone(&stop)));
            disturbed.push(p99(read(&current, &question).await));
            stop.store(true, Ordering::Relaxed);
            let written;
            (bench, written) = writer.await.unwrap();
            changes += written;
        }
        let ratios = disturbed.iter().zip(&alone).map(|(with, without)| with / without).collect();
        let (change_ms, change_kib) = small_changes(&mut bench).await;
        let seconds = ROUND.as_secs_f64() * ROUNDS as f64;
        println!(
            "{}",
            serde_json::json!({
                "p99_alone_ms": median(alone),
                "p99_with_writer_ms": median(disturbed),
                "ratio": median(ratios),
                "changes_per_second": changes as f64 / seconds,
                "small_change_ms": change_ms,
                "small_change_kib": change_kib,
            })
        );
    });
}

/// Searches at a fixed rate for a round. Times are from when a search was due.
async fn read(current: &RwLock<Arc<dyn Snapshot>>, question: &Embedding) -> Vec<f64> {
    let threads = FairThreads::start("weir-search", Work::Shared, 0, None).unwrap();
    let account = threads.account(threads.group(1), 1, Waited::default());
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut times = Vec::new();
    for _ in 0..(ROUND.as_secs_f64() * f64::from(RATE)) as usize {
        let due = ticks.tick().await;
        let snapshot = Arc::clone(&current.read());
        let query = Query {
            nearest: Some(question.clone()),
            text: Some("w1 w2 w3".into()),
            filter: None,
            minimum_score: None,
            unit: Unit::Document,
            limit: 10,
            offset: 0,
        };
        let hits = snapshot.search(query, due.into_std() + ROUND, &account).await.unwrap();
        assert_eq!(hits.len(), 10);
        times.push(due.elapsed().as_secs_f64() * 1e3);
    }
    times
}

/// Changes one document after another.
async fn write_until(
    mut bench: Bench,
    current: Arc<RwLock<Arc<dyn Snapshot>>>,
    stop: Arc<AtomicBool>,
) -> (Bench, u64) {
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let n = bench.random.random_range(0..CHUNKS);
        let next = bench.write(n..n + 1, Base::Kept, Epoch::Kept).await;
        *current.write() = next;
        written += 1;
    }
    (bench, written)
}

/// The median time of a change of one document, and the memory that its snapshot adds.
async fn small_changes(bench: &mut Bench) -> (f64, f64) {
    let (mut held, mut times) = (Vec::new(), Vec::new());
    let before = resident_kib();
    for _ in 0..HELD {
        let n = bench.random.random_range(0..CHUNKS);
        let began = Instant::now();
        held.push(bench.write(n..n + 1, Base::Kept, Epoch::Kept).await);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let added = resident_kib() - before;
    (median(times), added / held.len() as f64)
}

impl Bench {
    async fn write(
        &mut self,
        numbers: std::ops::Range<u64>,
        base: Base,
        epoch: Epoch,
    ) -> Arc<dyn Snapshot> {
        self.position += 1;
        let version = Position(self.position);
        let documents = numbers.map(|n| {
            let id = DocumentId::new(&format!("{n:06}")).unwrap();
            (id, Some(document(&mut self.random, version)))
        });
        let page = IndexPage {
            collection: Name::new("bench").unwrap(),
            up_to: Commit { position: version, chain: Chain(0) },
            base,
            documents: documents.collect(),
            epoch,
        };
        self.store.apply(page).await.unwrap().unwrap()
    }
}

fn document(random: &mut StdRng, version: Position) -> IndexedDocument {
    let text: Arc<str> = format!("Text of version {version}.").into();
    let end = u32::try_from(text.len()).unwrap();
    let mut terms: Vec<Arc<str>> =
        (0..TERMS_A_CHUNK).map(|_| format!("w{}", random.random_range(0..WORDS)).into()).collect();
    terms.sort_unstable();
    terms.dedup();
    let terms = terms.into_iter().map(|term| (term, 1)).collect();
    let chunk = IndexedChunk { start: 0, end, embedding: vector(random), terms };
    let content = Arc::new(Content::new(text, "{}".into()).unwrap());
    IndexedDocument { version, content, chunks: vec![chunk] }
}

fn vector(random: &mut StdRng) -> Embedding {
    let components: Vec<f32> = (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect();
    let length = components.iter().map(|component| component * component).sum::<f32>().sqrt();
    Embedding(components.iter().map(|component| component / length).collect())
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The memory of this process, from the kernel.
fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
