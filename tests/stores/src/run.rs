//! One run: a writer, at full speed or at a fixed rate, and at the same time a reader, at a fixed rate; and what
//! both have seen.
//!
//! Every answer is compared with what was written, and a wrong one ends the program. One whose ttl has
//! passed is counted.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use weir_cache::tier::EnvelopeStore;

use crate::figures::{Figures, Latencies};
use crate::process;
use crate::stores::{self, Kind};
use crate::traffic::{self, Asked, BATCH, SHORT_TTL, Traffic};

/// The reader asks for one of each kind so often.
const READS_EVERY: Duration = Duration::from_millis(2);
/// How often the size on the disk is taken.
const SIZES_EVERY: Duration = Duration::from_millis(50);
/// An expired entry must be gone when so many batches have been written after its ttl has passed: a write
/// removes a bounded number of them.
const GONE_AFTER_BATCHES: usize = 8;
/// How many of each kind are asked for at the end.
const ASKED_AT_END: usize = 2000;

/// Writes all of the traffic into a store within `folder`, and reads meanwhile.
pub(crate) fn measure(kind: Kind, traffic: Traffic, folder: &Path) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = stores::open(kind, folder, traffic.limit_bytes).await?;
        let written = Arc::new(Written::default());
        let (stop, stopped) = watch::channel(false);
        let sizes = sizes(folder, stopped.clone());
        let reader = Reader::new(&store, traffic, &written);
        let reading = tokio::spawn(reader.read_until(stopped));

        let started = Instant::now();
        let batches = write(&*store, &traffic, &written).await;
        store.flush().await?;
        let seconds = started.elapsed().as_secs_f64();
        stop.send(true)?;
        // A failed writer explains why its reader has failed.
        let batches = batches?;
        let (mut seen, at_end) = (reading.await??, Reader::new(&store, traffic, &written));
        let at_end = at_end.read_at_end().await?;
        store.close().await;
        let max_disk_bytes = sizes.await??.max(process::disk_bytes(folder)?);
        let written_bytes = process::written_bytes()?;
        ensure!(written_bytes > 0, "the folder is in memory: name one on a disk with --folder");
        // Otherwise there would be no latencies to state.
        ensure!(
            !seen.hits.is_empty() && !seen.misses.is_empty(),
            "too little was read: write more"
        );
        seen.expired_found += at_end.expired_found;
        Ok(Figures {
            seconds,
            max_disk_bytes,
            written_bytes,
            batches: Latencies::of(batches),
            hits: Latencies::of(seen.hits),
            misses: Latencies::of(seen.misses),
            young_found: at_end.share(Asked::Young),
            fitting_found: at_end.share(Asked::Fitting),
            old_found: at_end.share(Asked::Old),
            expired_found: seen.expired_found,
            peak_memory_bytes: process::peak_memory_bytes()?,
        })
    })
}

/// When each batch was written.
#[derive(Default)]
struct Written(Mutex<Vec<(Instant, Instant)>>);

impl Written {
    fn add(&self, from: Instant, to: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((from, to));
    }

    /// How many entries are written, and before which of them short-lived ones must be gone.
    fn entries(&self) -> (u64, u64) {
        let batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expired = batches.len().checked_sub(GONE_AFTER_BATCHES).map_or(0, |after| {
            let (from, _) = batches[after];
            batches.partition_point(|(_, to)| *to + SHORT_TTL < from)
        });
        (batches.len() as u64 * BATCH, expired as u64 * BATCH)
    }
}

async fn write(
    store: &dyn EnvelopeStore,
    traffic: &Traffic,
    written: &Written,
) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(traffic.batches as usize);
    let mut pace = traffic.pace.map(interval);
    for number in 0..traffic.batches {
        let batch = traffic::batch(number);
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let from = Instant::now();
        store.put(batch).await.with_context(|| format!("writing batch {number}"))?;
        let to = Instant::now();
        times.push(to - from);
        written.add(from, to);
    }
    Ok(times)
}

/// Takes the size of a folder again and again, and returns the largest.
fn sizes(folder: &Path, stopped: watch::Receiver<bool>) -> JoinHandle<std::io::Result<u64>> {
    let folder = folder.to_owned();
    spawn_blocking(move || {
        let mut max = 0;
        while !*stopped.borrow() {
            max = max.max(process::disk_bytes(&folder)?);
            std::thread::sleep(SIZES_EVERY);
        }
        Ok(max)
    })
}

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    hits: Vec<Duration>,
    misses: Vec<Duration>,
    /// How many were asked for and found, for each of [`Asked::ALL`].
    counts: [(u64, u64); Asked::ALL.len()],
    expired_found: u64,
}

impl Seen {
    fn share(&self, of: Asked) -> f64 {
        let (asked, found) = self.counts[of as usize];
        found as f64 / asked as f64
    }
}

struct Reader {
    store: Arc<dyn EnvelopeStore>,
    traffic: Traffic,
    written: Arc<Written>,
    random: SmallRng,
    seen: Seen,
}

impl Reader {
    fn new(store: &Arc<dyn EnvelopeStore>, traffic: Traffic, written: &Arc<Written>) -> Self {
        Self {
            store: Arc::clone(store),
            traffic,
            written: Arc::clone(written),
            random: SmallRng::seed_from_u64(u64::MAX),
            seen: Seen::default(),
        }
    }

    /// Reads while the writer writes.
    async fn read_until(mut self, stopped: watch::Receiver<bool>) -> Result<Seen> {
        let mut ticks = interval(READS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            ticks.tick().await;
            for asked in Asked::ALL {
                self.ask(asked).await?;
            }
        }
        Ok(self.seen)
    }

    /// Reads when nothing is written any more.
    async fn read_at_end(mut self) -> Result<Seen> {
        for asked in Asked::ALL {
            for _ in 0..ASKED_AT_END {
                ensure!(
                    self.ask(asked).await?,
                    "too little was written for any entry to be {asked:?}"
                );
            }
        }
        Ok(self.seen)
    }

    /// Asks for one entry. Returns false if there is none of this kind yet.
    async fn ask(&mut self, asked: Asked) -> Result<bool> {
        let (written, expired) = self.written.entries();
        let Some(number) = asked.draw(&self.traffic, written, expired, &mut self.random) else {
            return Ok(false);
        };
        let expected = traffic::entry(number);
        let from = Instant::now();
        let found = self.store.get(&expected.key).await?;
        let time = from.elapsed();
        let (asked_for, found_of) = &mut self.seen.counts[asked as usize];
        *asked_for += 1;
        let Some(found) = found else {
            self.seen.misses.push(time);
            return Ok(true);
        };
        *found_of += 1;
        self.seen.hits.push(time);
        ensure!(found == expected.bytes, "entry {number} was returned with other bytes");
        match asked {
            Asked::Absent => bail!("entry {number} was returned, and never written"),
            Asked::Expired => self.seen.expired_found += 1,
            Asked::Young | Asked::Fitting | Asked::Old => {}
        }
        Ok(true)
    }
}
