//! Runs the load generator against one server, and measures what the answers cost.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::cases::Case;
use super::generator::Counted;
use super::machine::{CpuTime, Spent};

/// A server under load.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) process: u32,
}

/// How many questions to ask.
#[derive(Clone, Copy)]
pub(super) enum Amount {
    /// Keys drawn by Zipf 1.0, for this many seconds.
    Seconds(f64),
    /// Each key once.
    EachOnce,
}

/// The figures of one run.
pub(super) struct Measure {
    pub(super) answers_per_second: f64,
    /// CPU time per answer of the whole machine, without the load generator's.
    pub(super) machine_us: f64,
    /// CPU time per answer of the server process itself.
    pub(super) process_us: f64,
}

impl Measure {
    fn new(counted: &Counted, spent: &Spent) -> Self {
        let answers = counted.answers.max(1) as f64;
        Self {
            answers_per_second: answers / counted.seconds,
            machine_us: spent.machine.as_secs_f64() * 1e6 / answers,
            process_us: spent.process.as_secs_f64() * 1e6 / answers,
        }
    }
}

/// Runs the load generator once, and checks that answers came from the cache as the case expects.
pub(super) async fn measure(
    target: Target,
    case: &Case,
    connections: usize,
    amount: Amount,
) -> Result<Measure> {
    let before = CpuTime::now(target.process)?;
    let counted = load(target, case, connections, amount).await?;
    let spent = CpuTime::now(target.process)?.since(before);
    let hits = if case.is_hit { counted.answers } else { 0 };
    ensure!(
        counted.hits == hits,
        "{}: {} of {} answers came from the cache, but {hits} should have",
        case.name,
        counted.hits,
        counted.answers
    );
    Ok(Measure::new(&counted, &spent))
}

/// Runs the load generator once.
pub(super) async fn load(
    target: Target,
    case: &Case,
    connections: usize,
    amount: Amount,
) -> Result<Counted> {
    // This program itself: a build may have replaced the file that it was started from.
    let mut generator = Command::new("/proc/self/exe");
    generator
        .arg("bench-load")
        .args(["--address", &target.address.to_string(), "--path", case.path])
        .args(["--keys", &case.keys.to_string()])
        .args(["--connections", &connections.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some(mode) = case.mode {
        generator.args(["--mode", mode]);
    }
    if let Amount::Seconds(seconds) = amount {
        generator.args(["--seconds", &seconds.to_string()]);
    }
    let output = generator.output().await.context("starting the load generator")?;
    ensure!(
        output.status.success(),
        "the load generator failed for {} at {}",
        case.path,
        target.address
    );
    serde_json::from_slice(&output.stdout).context("reading the counts of the load generator")
}
