//! `cargo xtask replay`: replays a trace of queries and writes against a server, in an open loop.
//!
//! [`stage`] starts the server with the collection, [`replay`] sends a [`segment`] of the trace and says what
//! became of it ([`replayed`]), and [`report`] prints that. Other commands can do the same with segments of
//! their own, and with servers that differ. [`line`](mod@line) reads one operation, [`feed`] reads ahead, [`send`] keeps
//! the time, [`tally`] counts with [`tiers`] and [`times`], and [`health`] asks the server.

mod feed;
mod health;
mod line;
pub(crate) mod replayed;
mod report;
pub(crate) mod segment;
mod send;
pub(crate) mod stage;
mod tally;
mod tiers;
mod times;

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::sleep;

use self::health::Health;
use self::replayed::{Between, Memory, Replayed, Seen};
use self::segment::Segment;
use self::stage::{Setting, Shared, Stage};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::progress::Progress;
use crate::server::Server;
use crate::traffic::threads::on_own_thread;
use crate::watch::{Peak, Process};

/// The collection that traces are about.
const COLLECTION: &str = "cranfield";
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// How often a line is printed where no bar is shown.
const SAID_EVERY: Duration = Duration::from_secs(30);

/// Replay a trace of queries and writes, and report hit ratios and times
///
/// Starts a server with the Cranfield collection and an empty cache, and sends each operation of the
/// trace when it is due, whether or not the server keeps up: a late answer is late from when its
/// operation was due. Queries go to `search`. Writes go to the collection one after the other.
///
/// Prints how operations ended, where answers came from, times, memory and positions. Fails if a
/// query is not answered or a write not acknowledged, if the answers' Cache-Status and the server's
/// analytics count differently, or if the replay is void: if operations were begun late. Ctrl-C ends
/// it with a report of what was sent until then. Run nothing else at the same time.
///
/// docs/benchmarks.md says what a trace is and how one is made.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Replay {
    /// The trace: an operation a line, in order of time
    trace: PathBuf,
    /// The folder with documents.jsonl, if it is not ../shared/data/cranfield
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// How many times as fast as the trace says
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Leave out what comes before this time of the trace, also writes
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    from: f64,
    /// Leave out what comes at this time of the trace or later
    #[arg(long, value_name = "SECONDS")]
    to: Option<f64>,
    /// A setting of the policy: a number, true or false, or a text; can be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = policy_setting)]
    policy_setting: Vec<(String, Value)>,
    /// The component of the policy, if it is not policy-default
    #[arg(long, value_name = "COMPONENT")]
    policy: Option<PathBuf>,
    /// What the shared tier of the cache is in
    #[arg(long, value_enum, default_value_t = Shared::Disk)]
    shared: Shared,
    /// Use the server and the plugins that were built last
    #[arg(long)]
    no_build: bool,
    /// Also write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Replay {
    pub(crate) async fn run(self) -> Result<()> {
        let segment = Segment::new(&self.trace, self.from, self.to, self.speed)?;
        let setting = self.setting()?;
        // A trace that cannot be read is refused before anything is built.
        segment.survey()?;
        // Dropping this future stops the server and removes its folder.
        let stage = Interrupt::or(Stage::set(&setting, |_| {})).await?;
        let replayed = replay(&segment, &stage.server, &mut Interrupt::new()?).await;
        let replayed = replayed.map_err(|error| stage.server.explain(&error))?;
        println!("\n{}", report::markdown(&replayed, &machine::description()?));
        if let Some(file) = &self.json {
            let json = serde_json::to_string_pretty(&replayed)?;
            fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
        }
        stage.server.stop().await?;
        let why: Vec<_> = replayed.void.into_iter().chain(replayed.failures).collect();
        ensure!(why.is_empty(), "the replay is void or has failed: {}", why.join("; "));
        Ok(())
    }

    fn setting(&self) -> Result<Setting> {
        let mut policy_settings = Map::new();
        for (name, value) in &self.policy_setting {
            let earlier = policy_settings.insert(name.clone(), value.clone());
            ensure!(earlier.is_none(), "--policy-setting {name} is given twice");
        }
        Ok(Setting {
            data: self.data.clone(),
            policy: self.policy.clone(),
            policy_settings,
            shared: self.shared,
            no_build: self.no_build,
        })
    }
}

/// Sends a segment to a server whose collection and cache are as they should be before it. If an interrupt
/// comes, nothing more is sent; a second one ends it at once.
pub(crate) async fn replay(
    segment: &Segment,
    server: &Server,
    interrupt: &mut Interrupt,
) -> Result<Replayed> {
    let survey = segment.survey()?;
    let (health, process) = (Health::new(server.url())?, Process::new(server.id()?));
    let mut positions = Between { start: health.positions().await?, ..Between::default() };
    let before = health.tiers().await?;
    let mut memory = Memory { before_mib: mib(&process)?, ..Memory::default() };
    process.forget_peak()?;
    let mut peak = Peak::default();

    let (stop, stopped) = oneshot::channel();
    let ended = Arc::new(AtomicU64::new(0));
    let sent = on_own_thread("replay", {
        let (feed, ended) = (feed::feed(segment.clone())?, Arc::clone(&ended));
        let address = server.address();
        move || send::send(address, feed, stopped, ended)
    })?;
    let sent = tokio::select! {
        sent = sent => sent??,
        error = process.watch(&mut peak, u64::MAX) => return Err(error),
        never = show(&ended, survey.total()) => match never {},
        error = stop_at(interrupt, stop) => return Err(error),
    };

    memory.after_mib = mib(&process)?;
    memory.peak_mib = peak.memory_mib.max(memory.after_mib);
    let tiers = health.tiers_since(before, sent.tally.tiers).await?;
    positions.end = health.positions().await?;
    Replayed::of(segment, survey, &sent, Seen { tiers, memory, positions })
}

/// Stops the sender at the first interrupt, and returns at the second.
async fn stop_at(interrupt: &mut Interrupt, stop: oneshot::Sender<()>) -> anyhow::Error {
    interrupt.received().await;
    eprintln!("stopping: waiting for what is in flight …");
    // It may have ended just now.
    let _ = stop.send(());
    interrupt.received().await;
    anyhow::anyhow!("interrupted")
}

/// Shows how many operations have ended.
async fn show(ended: &AtomicU64, total: u64) -> std::convert::Infallible {
    let progress = Progress::items("Replaying", total, "operations");
    let (began, mut said) = (Instant::now(), Duration::ZERO);
    loop {
        sleep(SHOWN_EVERY).await;
        let ended = ended.load(Ordering::Relaxed);
        progress.set(ended);
        if !stderr().is_terminal() && began.elapsed() - said >= SAID_EVERY {
            said = began.elapsed();
            eprintln!("{:.0} s: {ended} of {total} operations have ended", said.as_secs_f64());
        }
    }
}

fn mib(process: &Process) -> Result<u64> {
    Ok(process.resident_kib()? / 1024)
}

/// Reads `NAME=VALUE`. What is no number and no boolean is a text.
fn policy_setting(text: &str) -> Result<(String, Value)> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        bail!("it must be NAME=VALUE");
    };
    let parsed = serde_json::from_str::<Value>(value).ok();
    let scalar = parsed.filter(|value| value.is_number() || value.is_boolean());
    Ok((name.to_owned(), scalar.unwrap_or_else(|| value.into())))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_numbers_booleans_or_texts() {
        for (text, expected) in [
            ("ttl_ms=300000", json!(300_000)),
            ("share=0.5", json!(0.5)),
            ("on=true", json!(true)),
            ("name=a=b", json!("a=b")),
            ("list=[1]", json!("[1]")),
            ("empty=", json!("")),
        ] {
            assert_eq!(policy_setting(text).unwrap().1, expected, "{text}");
        }
        policy_setting("ttl_ms").unwrap_err();
        policy_setting("=5").unwrap_err();
    }
}
