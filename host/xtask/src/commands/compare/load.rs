//! Puts load on a contender and measures throughput and CPU time in a closed loop, with the load
//! generator of `bench`, and latency at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{CACHED, Case, Questions};
use crate::commands::bench::generator::BenchLoad;
use crate::commands::bench::questions::body;
use crate::machine::CpuTime;
use crate::traffic::connection::{Connection, Counted, request};

/// How many new questions are set aside for each measurement.
pub(super) const NEW_QUESTIONS: usize = 1_000;
/// Connections for measuring latency: enough that a slow answer does not delay other requests.
const LATENCY_CONNECTIONS: usize = 16;

/// A server under load.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// All processes that take part in answering.
    pub(super) processes: Vec<u32>,
}

/// How many questions to ask.
#[derive(Clone, Copy)]
pub(super) enum Amount {
    /// Questions drawn by Zipf 1.0, for this many seconds.
    Seconds(f64),
    /// Each question once, starting with this number.
    EachOnce(usize),
}

/// The throughput of a contender, and the CPU time that an answer costs.
pub(super) struct Throughput {
    pub(super) answers_per_second: f64,
    /// CPU time per answer of the whole machine, without the load generator's.
    pub(super) machine_us: f64,
    /// CPU time per answer of the contender's own processes, to check `machine_us`.
    pub(super) processes_us: f64,
}

/// The latency of answers.
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Measures throughput and the CPU time per answer.
pub(super) async fn measure(
    contender: &Contender,
    case: &Case,
    amount: Amount,
    connections: usize,
) -> Result<Throughput> {
    let now = || -> Result<Vec<CpuTime>> {
        contender.processes.iter().map(|process| CpuTime::now(*process)).collect()
    };
    let before = now()?;
    let counted = load(contender, case, amount, connections).await?;
    let spent: Vec<_> =
        now()?.into_iter().zip(before).map(|(after, before)| after.since(before)).collect();
    // Plain axum repeats Weir's headers, so its answers count as hits too.
    let hits = if case.path == CACHED.path { counted.answers } else { 0 };
    ensure!(
        counted.hits == hits,
        "{}, {}: {} of {} answers came from the cache, but {hits} should have",
        contender.name,
        case.name,
        counted.hits,
        counted.answers
    );
    let answers = counted.answers.max(1) as f64;
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / answers;
    Ok(Throughput {
        answers_per_second: answers / counted.seconds,
        machine_us: spent.first().map_or(f64::NAN, |spent| microseconds(spent.machine)),
        processes_us: microseconds(spent.iter().map(|spent| spent.process).sum()),
    })
}

/// Runs the load generator once.
pub(super) async fn load(
    contender: &Contender,
    case: &Case,
    amount: Amount,
    connections: usize,
) -> Result<Counted> {
    let keys = match case.questions {
        Questions::Known(count) => count,
        Questions::New => NEW_QUESTIONS,
    };
    let (first_key, seconds) = match amount {
        Amount::Seconds(seconds) => (0, Some(seconds)),
        Amount::EachOnce(first) => (first, None),
    };
    let generator = BenchLoad {
        address: contender.address,
        path: case.path.to_owned(),
        mode: None,
        first_key,
        keys,
        connections,
        seconds,
    };
    generator.in_own_process().await
}

/// Measures latency at the case's rate. Requests are sent whether or not earlier answers have
/// arrived. The time of a request starts when it is due, even if it waits for a free connection.
pub(super) async fn latency(
    contender: &Contender,
    case: &Case,
    first_new: usize,
    seconds: f64,
) -> Result<Latency> {
    let requests = (case.rate * seconds).ceil() as u32;
    let interval = Duration::from_secs_f64(1.0 / case.rate);
    let started = Instant::now();
    let next = Arc::new(AtomicU32::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..LATENCY_CONNECTIONS {
        let next = Arc::clone(&next);
        let (address, path, questions) = (contender.address, case.path, case.questions);
        connections.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return anyhow::Ok(times);
                }
                let key = match questions {
                    Questions::Known(count) => number as usize % count,
                    Questions::New => first_new + number as usize,
                };
                let asked = request(path, &body(key, None));
                let due = started + interval * number;
                let is_early = Instant::now() < due;
                sleep_until(due).await;
                // Timers are up to a millisecond late, which is not the server's fault.
                let begun = if is_early { Instant::now() } else { due };
                connection.ask(asked.as_bytes()).await?;
                times.push(begun.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(of_one) = connections.join_next().await {
        times.extend(of_one??);
    }
    times.sort_unstable();
    let milliseconds = |share| percentile(&times, share).as_secs_f64() * 1e3;
    Ok(Latency { p50_ms: milliseconds(0.5), p99_ms: milliseconds(0.99) })
}

/// The nearest-rank percentile of sorted times, which is always one of them.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_not_interpolated() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        for (share, expected) in [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1)] {
            assert_eq!(percentile(&times, share), Duration::from_millis(expected));
        }
        assert_eq!(percentile(&times[..1], 0.99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
