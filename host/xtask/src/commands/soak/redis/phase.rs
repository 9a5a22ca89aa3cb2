//! One phase: hits of the memory tier at a steady rate, new questions besides them, and trouble or none.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Barrier;
use tokio::time::sleep;

use super::trouble::{Redis, Trouble};
use crate::commands::soak::experiment::load::{self, Seen, Window};
use crate::commands::soak::experiment::warm;
use crate::server::Server;
use crate::traffic::clients::Clients;
use crate::traffic::threads::on_own_thread;

/// Before the first request that counts: as long as Redis may take until it is used again.
const WARM: Duration = Duration::from_secs(6);
/// So few that the machine has time left: otherwise, what a run without Redis costs would delay hits.
const NEW_PER_SECOND: u32 = 10;
/// Where the hits come from, and where the new questions: the server tells clients by their addresses.
const HITS: [Ipv4Addr; 1] = [Ipv4Addr::LOCALHOST];
const NEW: [Ipv4Addr; 1] = [Ipv4Addr::new(127, 0, 0, 2)];

/// What was measured in a phase.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) trouble: Option<Trouble>,
    pub(super) hits: Seen,
    pub(super) new: Seen,
    pub(super) lookups: Lookups,
}

/// Lookups of answers in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lookups {
    pub(super) all: u64,
    /// Those that Redis did not answer in time.
    pub(super) failed: u64,
}

/// Runs a phase. Its trouble begins with what is measured, and has ended when this returns.
pub(super) async fn run(
    server: &Server,
    redis: &mut Redis,
    trouble: Option<Trouble>,
    measured: Duration,
) -> Result<Phase> {
    let window = Window { from: WARM, to: WARM + measured };
    let address = server.address();
    let start = Arc::new(Barrier::new(3));
    let hits = on_own_thread("hits", {
        let start = Arc::clone(&start);
        move || warm::hits(Clients::new(address, &HITS), start, window)
    })?;
    let new = on_own_thread("new questions", {
        let start = Arc::clone(&start);
        move || async move { Ok(ask_new(Clients::new(address, &NEW), start, window).await) }
    })?;
    let disturb = async {
        start.wait().await;
        sleep(WARM).await;
        let before = Lookups::of(server).await?;
        if let Some(trouble) = trouble {
            redis.begin(trouble);
        }
        anyhow::Ok(before)
    };
    // If one of them cannot begin, the others are not waited for.
    let ended = tokio::try_join!(disturb, async { hits.await? }, async { new.await? });
    let after = Lookups::of(server).await;
    if let Some(trouble) = trouble {
        redis.end(trouble);
    }
    let ((before, hits, new), after) = (ended?, after?);
    let lookups = Lookups { all: after.all - before.all, failed: after.failed - before.failed };
    Ok(Phase { trouble, hits, new, lookups })
}

async fn ask_new(clients: Clients, start: Arc<Barrier>, window: Window) -> Seen {
    let count = (f64::from(NEW_PER_SECOND) * window.to.as_secs_f64()).ceil() as usize;
    let requests: Vec<Arc<str>> = (0..count).map(|_| load::new_search().into()).collect();
    start.wait().await;
    let next = |number| Arc::clone(&requests[number as usize]);
    load::open(Arc::new(clients), NEW_PER_SECOND, window, next).await
}

impl Lookups {
    /// Those of the server so far.
    async fn of(server: &Server) -> Result<Self> {
        let url = format!("{}/metrics", server.url());
        let metrics = reqwest::get(url).await?.error_for_status()?.text().await;
        Self::in_metrics(&metrics.context("reading the server's metrics")?)
    }

    fn in_metrics(metrics: &str) -> Result<Self> {
        let mut lookups = Self::default();
        for line in metrics.lines() {
            let Some(series) = line.strip_prefix("weir_cache_shared_lookups_total{") else {
                continue;
            };
            if !series.contains("operation=\"query\"") {
                continue;
            }
            let (labels, value) = series.rsplit_once(' ').context("a metric without a value")?;
            let value = value.parse::<f64>().with_context(|| format!("reading {line}"))? as u64;
            lookups.all += value;
            let failed = ["failed", "too-slow", "open", "crowded"];
            if failed.iter().any(|outcome| labels.contains(&format!("outcome=\"{outcome}\""))) {
                lookups.failed += value;
            }
        }
        Ok(lookups)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn lookups_are_those_of_answers() {
        let metrics = "# TYPE weir_cache_shared_lookups_total counter\n\
            weir_cache_shared_lookups_total{operation=\"query\",pipeline=\"search\",outcome=\"absent\"} 7\n\
            weir_cache_shared_lookups_total{operation=\"query\",pipeline=\"search\",outcome=\"failed\"} 2\n\
            weir_cache_shared_lookups_total{operation=\"query\",pipeline=\"echo\",outcome=\"open\"} 3\n\
            weir_cache_shared_lookups_total{operation=\"embedding\",outcome=\"failed\"} 5\n\
            weir_cache_shared_dropped_total 9\n";
        assert_eq!(Lookups::in_metrics(metrics).unwrap(), Lookups { all: 12, failed: 5 });
        assert_eq!(Lookups::in_metrics("").unwrap(), Lookups::default());
        Lookups::in_metrics("weir_cache_shared_lookups_total{operation=\"query\"} x").unwrap_err();
    }
}
