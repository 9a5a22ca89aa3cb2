//! `cargo xtask bench writers`: what a writer costs the readers of a large collection. Runs
//! `host/search/benches/snapshots.rs`, and prints its figures as a table.

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::process;
use crate::workspace::Workspace;

/// The most that the 99th percentile may grow because of a writer.
const MAX_RATIO: f64 = 1.5;

/// Measure what a writer costs the readers of a large collection
///
/// A reader searches 100,000 chunks 20 times a second, in rounds with and without a writer that
/// publishes changed documents without pause. Fails if the 99th percentile of the times with the
/// writer is over 1.5 times that without. Also measures the time and memory of a small change.
#[derive(Args)]
pub(crate) struct Writers {
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

/// What the benchmark prints: medians over its rounds.
#[derive(Deserialize)]
struct Figures {
    p99_alone_ms: f64,
    p99_with_writer_ms: f64,
    ratio: f64,
    changes_per_second: f64,
    small_change_ms: f64,
    small_change_kib: f64,
}

impl Writers {
    pub(super) fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let mut bench = process::cargo();
        bench
            .args(["bench", "--quiet", "--workspace", "--bench", "snapshots"])
            .current_dir(&workspace.root);
        let printed = process::output(&mut bench)?;
        let figures: Figures =
            serde_json::from_str(printed.trim()).context("reading the benchmark's figures")?;
        println!("| search of 100,000 chunks, p99 | alone | with a writer | ratio |");
        println!("|---|---:|---:|---:|");
        let Figures { p99_alone_ms, p99_with_writer_ms, ratio, .. } = figures;
        println!("| ms | {p99_alone_ms:.1} | {p99_with_writer_ms:.1} | {ratio:.2} |");
        let Figures { changes_per_second, small_change_ms, small_change_kib, .. } = figures;
        println!(
            "The writer published {changes_per_second:.0} changes a second. A change of one document \
             takes {small_change_ms:.2} ms, and its snapshot {small_change_kib:.0} KiB."
        );
        ensure!(
            self.no_bounds || ratio <= MAX_RATIO,
            "the writer makes the 99th percentile {ratio:.2} times as long; at most {MAX_RATIO} \
             times is allowed"
        );
        Ok(())
    }
}
