//! Runs the load generator against one server, and measures what the answers cost.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::cases::Case;
use super::generator::BenchLoad;
use crate::machine::{CpuTime, Spent};
use crate::traffic::connection::Counted;

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
    let seconds = match amount {
        Amount::Seconds(seconds) => Some(seconds),
        Amount::EachOnce => None,
    };
    let generator = BenchLoad {
        address: target.address,
        path: case.path.to_owned(),
        mode: case.mode.map(str::to_owned),
        first_key: 0,
        keys: case.keys,
        connections,
        seconds,
    };
    generator.in_own_process().await
}
