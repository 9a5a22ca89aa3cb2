//! `cargo xtask bench cache`: what a hit of the shared tier costs next to Redis alone, and what an entry
//! takes. Makes answers about the demo's corpus, and runs `host/cache/benches/tiers.rs` with them.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::questions::{self, COLLECTION};
use super::side::Side;
use super::this_checkout;
use crate::commands::demo::corpus::Corpus;
use crate::{machine, process};

const ANSWERS: usize = 200;
/// The most that a hit of the shared tier on Redis may take, as a multiple of fred's GET.
const MAX_RATIO: f64 = 1.5;
/// The most bytes that are stored, as a share of those of the answers.
const MAX_STORED: f64 = 0.5;

/// Measure what hits of the shared tier cost, and what entries take
///
/// Asks 200 questions about the demo's corpus, and puts the answers into a shared tier on a Redis and one on
/// disk. Then looks each up in turns, with all checks, next to a GET of the same bytes by the Redis client
/// alone. Fails if the median of a hit on Redis is over 1.5 times that of the GET, or if more than half of the
/// answers' bytes are stored. The cost of hits of the memory tier is counted by `bench instructions`.
#[derive(Args)]
pub(crate) struct Cache {
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

/// What the benchmark prints: medians over its rounds.
#[derive(Deserialize)]
struct Figures {
    answers: usize,
    raw_bytes: f64,
    stored_bytes: f64,
    redis_us: f64,
    bare_us: f64,
    disk_us: f64,
}

impl Cache {
    pub(super) async fn run(self) -> Result<()> {
        let (workspace, tools) = this_checkout()?;
        let side = Side::build(&workspace, &tools.embedding)?;
        machine::warn_if_busy()?;
        let folder = tempfile::tempdir()?;
        let server = side.start(&folder.path().join("weir")).await?;
        let corpus = Corpus::find(&workspace.root)?;
        let mut ingest = std::process::Command::new(&side.binary);
        ingest.args(["ingest", "--collection", COLLECTION, "--url", &server.url()]);
        ingest.args(&corpus.files).current_dir(&corpus.folder);
        process::run(&mut ingest)?;
        let answers = answers(&server.url()).await?;
        server.stop().await?;
        let file = folder.path().join("answers.ndjson");
        fs::write(&file, answers).context("writing the answers")?;

        let mut bench = process::cargo();
        bench
            .args(["bench", "--quiet", "--workspace", "--bench", "tiers"])
            .env("WEIR_BENCH_ANSWERS", &file)
            .current_dir(&workspace.root);
        let printed = process::output(&mut bench)?;
        let figures: Figures =
            serde_json::from_str(printed.trim()).context("reading the benchmark's figures")?;
        println!("{}", machine::description()?);
        self.judge(&figures)
    }

    fn judge(&self, figures: &Figures) -> Result<()> {
        let Figures { answers, raw_bytes, stored_bytes, redis_us, bare_us, disk_us } = figures;
        let count = *answers as f64;
        let (ratio, stored) = (redis_us / bare_us, stored_bytes / raw_bytes);
        println!("| median of a lookup | µs | × fred's GET |");
        println!("|---|---:|---:|");
        println!("| fred's GET of the same bytes | {bare_us:.0} | |");
        println!("| hit on Redis, with all checks | {redis_us:.0} | {ratio:.2} |");
        println!("| hit on disk, with all checks | {disk_us:.0} | {:.2} |", disk_us / bare_us);
        println!(
            "{answers} answers have {:.0} bytes each, and are stored in {:.0} bytes, with what they depend \
             on: {stored:.2} times as many.",
            raw_bytes / count,
            stored_bytes / count,
        );
        ensure!(
            self.no_bounds || ratio <= MAX_RATIO,
            "a hit on Redis takes {ratio:.2} times as long as fred's GET; at most {MAX_RATIO} is allowed"
        );
        ensure!(
            self.no_bounds || stored <= MAX_STORED,
            "{stored:.2} of the answers' bytes are stored; at most {MAX_STORED} is allowed"
        );
        Ok(())
    }
}

/// The bodies of answers, one a line.
async fn answers(url: &str) -> Result<String> {
    let http = crate::client::http().build()?;
    let mut lines = String::new();
    for number in 0..ANSWERS {
        let words = questions::words(number as u64, 4);
        let question =
            json!({ "collection": COLLECTION, "query": words, "mode": "dense", "limit": 10 });
        let request = http.post(format!("{url}/v1/pipelines/search"));
        let request = request.header("content-type", "application/json").body(question.to_string());
        let body = request.send().await?.error_for_status()?.text().await?;
        ensure!(!body.contains('\n'), "an answer has several lines");
        lines.push_str(&body);
        lines.push('\n');
    }
    Ok(lines)
}
