//! `cargo xtask bench`: measures what an answer costs.
//!
//! `cases` defines the cases, and `questions` makes the bodies of their requests. `floor` compares
//! Weir with a plain server, and `against` compares it with another revision of this repository,
//! which `revision` builds. `side` starts the server of a revision. `instructions` counts
//! instructions instead of time, `writers` measures what a writer costs
//! readers, `ingest` what others notice of an ingest, and `cache` what hits of the shared tier cost. How well searches rank is measured by `eval`.

mod against;
mod cache;
mod cases;
mod comparison;
mod floor;
pub(crate) mod generator;
mod ingest;
pub(crate) mod instructions;
mod measure;
mod older;
mod plain;
mod prepare;
pub(crate) mod questions;
mod revision;
mod sandbox;
pub(crate) mod side;
mod statistics;
mod writers;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::cache::Cache;
use self::ingest::Ingest;
use self::instructions::Instructions;
use self::revision::Revision;
use self::writers::Writers;
use crate::components;
use crate::interrupt::Interrupt;
use crate::set_up::{self, Tools};
use crate::workspace::Workspace;

/// Measure requests per second and CPU time per answer
///
/// There are five cases: hits of the memory tier, with 100,000 keys drawn by Zipf 1.0; an
/// uncached `echo`, with a new instance for each request; and uncached searches in each mode
/// (dense, keyword, hybrid) over 400 documents, with questions that were embedded before. All
/// requests are POSTs with JSON bodies over kept-alive connections.
///
/// Without --against, hits and echoes are compared with a plain server that sends the same bytes.
/// Fails if an answer costs more CPU time than the plain server's plus a bound. CPU time is that
/// of the whole machine without the load generator's, so run nothing else at the same time. Also
/// measures the cost of the sandbox: `search` as a component, and the same code compiled natively.
///
/// With --against, another revision is built (in ~/.cache/weir/bench, where it stays for the
/// next time) and compared with this one, two servers each, which are started again several
/// times. CPU time is the server process's own. Fails if this checkout costs more than 1.05 times
/// the other revision, times what equal pairs of servers differ by.
///
/// docs/benchmarks.md says what each figure means.
#[derive(Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    timing: Timing,
    /// Compare with this revision of the repository: a commit, a tag or a branch
    #[arg(long, value_name = "REV")]
    against: Option<String>,
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

#[derive(Subcommand)]
enum Command {
    Instructions(Instructions),
    Writers(Writers),
    Ingest(Ingest),
    Cache(Cache),
}

/// How long and with how many connections to measure.
#[derive(Args, Clone, Copy)]
pub(crate) struct Timing {
    /// Number of times that --against starts the servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    starts: u16,
    /// Number of rounds, which --against divides among its starts; every case runs once in each
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds per case and round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Number of connections, each with one request in flight
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

impl Timing {
    /// Rounds between two starts, at least one.
    fn rounds_per_start(self) -> u16 {
        self.rounds.div_ceil(self.starts)
    }
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        // Dropping this future stops servers and removes folders and worktrees.
        Interrupt::or(self.measure()).await
    }

    async fn measure(self) -> Result<()> {
        match (self.command, self.against) {
            (Some(Command::Instructions(instructions)), _) => instructions.run().await,
            (Some(Command::Writers(writers)), _) => writers.run(),
            (Some(Command::Ingest(ingest)), _) => ingest.run().await,
            (Some(Command::Cache(cache)), _) => cache.run().await,
            (None, Some(revision)) => against::run(self.timing, &revision, self.no_bounds).await,
            (None, None) => floor::run(self.timing, self.no_bounds).await,
        }
    }
}

/// Finds this checkout and its tools, and builds its plugins.
fn this_checkout() -> Result<(Workspace, Tools)> {
    let workspace = Workspace::find()?;
    let tools = set_up::set_up()?;
    components::build_plugins(&workspace, &tools.wasm)?;
    Ok((workspace, tools))
}
