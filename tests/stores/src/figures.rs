//! What was measured, and how it is shown: a line of a Markdown table for each store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stores::Kind;

/// The head of the table.
pub(crate) const HEAD: &str = "\
| store | time, s | disk, max MiB | written, MiB | batch p50 / p99 / max, ms | hit p50 / p99 / max, µs | miss p50 / p99 / max, µs | young found | fitting found | old found | expired found | peak RSS, MiB |
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What one run of a store has cost.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) max_disk_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) batches: Latencies,
    pub(crate) hits: Latencies,
    pub(crate) misses: Latencies,
    /// Shares of what was asked for at the end.
    pub(crate) young_found: f64,
    pub(crate) fitting_found: f64,
    pub(crate) old_found: f64,
    /// A count, over the whole run: it must be 0.
    pub(crate) expired_found: u64,
    pub(crate) peak_memory_bytes: u64,
}

/// In microseconds.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latencies {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let last = times.len().saturating_sub(1);
            times.get(last * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// A line of the table: the medians of the rounds.
pub(crate) fn row(kind: Kind, rounds: &[Figures]) -> String {
    let middle = |of: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(of).collect());
    let latencies = |of: &dyn Fn(&Figures) -> Latencies, unit: f64, digits: usize| {
        let [p50, p99, max] = [
            middle(&|figures| of(figures).p50 / unit),
            middle(&|figures| of(figures).p99 / unit),
            middle(&|figures| of(figures).max / unit),
        ];
        format!("{p50:.digits$} / {p99:.digits$} / {max:.digits$}")
    };
    let mib = |of: &dyn Fn(&Figures) -> u64| middle(&|figures| (of(figures) >> 20) as f64);
    let percent = |of: &dyn Fn(&Figures) -> f64| 100.0 * middle(of);
    let expired: u64 = rounds.iter().map(|figures| figures.expired_found).sum();
    format!(
        "| {kind} | {:.1} | {:.0} | {:.0} | {} | {} | {} | {:.1} % | {:.1} % | {:.1} % | {expired} | {:.0} |",
        middle(&|figures| figures.seconds),
        mib(&|figures| figures.max_disk_bytes),
        mib(&|figures| figures.written_bytes),
        latencies(&|figures| figures.batches, 1000.0, 1),
        latencies(&|figures| figures.hits, 1.0, 0),
        latencies(&|figures| figures.misses, 1.0, 0),
        percent(&|figures| figures.young_found),
        percent(&|figures| figures.fitting_found),
        percent(&|figures| figures.old_found),
        mib(&|figures| figures.peak_memory_bytes),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
