//! `cargo xtask bench ingest`: what others notice of a large ingest. Documents go into one
//! collection while warm questions about it are asked at a fixed rate, and while single documents
//! are written to another collection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::questions::{self, COLLECTION};
use super::side::{Side, target};
use super::statistics::median;
use super::this_checkout;
use crate::client::{Client, is_cache_hit};
use crate::machine;

const OTHER: &str = "other";
/// How many documents a request has.
const BATCH: usize = 100;
const QUESTIONS: usize = 10;
/// A single document is written this often.
const PAUSE: Duration = Duration::from_millis(500);
const QUESTIONS_PER_SECOND: u32 = 20;
/// The least share of answers that are hits.
const MIN_HITS: f64 = 0.5;
const MAX_MEDIAN: Duration = Duration::from_secs(1);
const MAX_P99: Duration = Duration::from_secs(3);

/// Measure what others notice of a large ingest
///
/// Ingests documents into one collection, 100 a request. Meanwhile, ten questions about it that
/// were asked before are asked again, 20 a second, and single documents are written to another
/// collection, one after the other. Fails if less than half of the answers are hits, or if the
/// single writes are not searchable within 1 s (median) and 3 s (99th percentile).
#[derive(Args)]
pub(crate) struct Ingest {
    /// Number of documents
    #[arg(long, default_value_t = 5_000)]
    documents: usize,
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

impl Ingest {
    pub(super) async fn run(self) -> Result<()> {
        let (workspace, tools) = this_checkout()?;
        let side = Side::build(&workspace, &tools.embedding)?;
        machine::warn_if_busy()?;
        let folder = tempfile::tempdir()?;
        let server = side.start(&folder.path().join("weir")).await?;
        let client = Client::new(&format!("http://{}", target(&server)?.address))?;
        for collection in [COLLECTION, OTHER] {
            client.create_collection(collection).await?;
        }
        client.ingest(COLLECTION, questions::documents(0..BATCH)).await?;
        for number in 0..QUESTIONS {
            client.search(&question(number)).await?;
        }
        println!("{}", machine::description()?);
        let mut seen = Seen::default();
        let began = Instant::now();
        // The ingest ends; the others go on until then.
        tokio::select! {
            biased;
            ingested = ingest(&client, self.documents) => ingested?,
            asked = ask(&client, &mut seen.answers) => asked?,
            wrote = write(&client, &mut seen.writes) => wrote?,
        }
        let elapsed = began.elapsed();
        server.stop().await?;
        let within = seen.print(self.documents, elapsed);
        ensure!(within || self.no_bounds, "others notice more of an ingest than the bounds allow");
        Ok(())
    }
}

/// What happened during the ingest.
#[derive(Default)]
struct Seen {
    /// Whether each answer was a hit.
    answers: Vec<bool>,
    /// How long each single write took to become searchable.
    writes: Vec<Duration>,
}

impl Seen {
    /// Prints the figures, and returns whether they are within the bounds.
    fn print(&self, documents: usize, elapsed: Duration) -> bool {
        let hits = self.answers.iter().filter(|hit| **hit).count();
        let share = hits as f64 / self.answers.len() as f64;
        let mut sorted = self.writes.clone();
        sorted.sort_unstable();
        let Some(p99) = sorted.get(sorted.len() * 99 / 100) else { return false };
        let median = median(sorted.iter().map(Duration::as_secs_f64));
        println!(
            "{documents} documents were searchable after {:.0} s. Of {} warm questions, {:.0} % were \
             hits. {} single writes to another collection were searchable after {:.0} ms at the \
             median and {:.0} ms at the 99th percentile.",
            elapsed.as_secs_f64(),
            self.answers.len(),
            share * 100.0,
            sorted.len(),
            median * 1e3,
            p99.as_secs_f64() * 1e3,
        );
        share >= MIN_HITS && median <= MAX_MEDIAN.as_secs_f64() && *p99 <= MAX_P99
    }
}

async fn ingest(client: &Client, documents: usize) -> Result<()> {
    for first in (BATCH..documents + BATCH).step_by(BATCH) {
        client.ingest(COLLECTION, questions::documents(first..first + BATCH)).await?;
    }
    Ok(())
}

/// Asks the warm questions in turn, at a fixed rate, until it is dropped.
async fn ask(client: &Client, answers: &mut Vec<bool>) -> Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / QUESTIONS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in (0..QUESTIONS).cycle() {
        ticks.tick().await;
        answers.push(is_cache_hit(&client.search(&question(number)).await?.cache_status));
    }
    Ok(())
}

/// Writes one document after the other to the other collection, until it is dropped.
async fn write(client: &Client, writes: &mut Vec<Duration>) -> Result<()> {
    for number in 0_usize.. {
        let began = Instant::now();
        client.ingest(OTHER, questions::documents(number..number + 1)).await?;
        writes.push(began.elapsed());
        tokio::time::sleep(PAUSE.saturating_sub(began.elapsed())).await;
    }
    Ok(())
}

fn question(number: usize) -> Value {
    let body = questions::body(number, Some("hybrid"));
    serde_json::from_str(&body).unwrap_or_default()
}
