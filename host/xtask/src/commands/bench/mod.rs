//! `cargo xtask bench`: what an answer costs.
//!
//! `cases` says what is asked, of which `questions` makes the bytes. `floor` compares with a
//! plain server, and `against` with another revision of this repository, which `revision`
//! builds: each server of a comparison is a `side`. `instructions` counts instead of timing. How
//! well searches rank is `eval`'s.

mod against;
mod cases;
mod comparison;
mod floor;
pub(crate) mod generator;
pub(crate) mod instructions;
pub(crate) mod machine;
mod measure;
mod older;
mod plain;
mod prepare;
pub(crate) mod questions;
mod revision;
mod sandbox;
pub(crate) mod side;
mod statistics;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use self::instructions::Instructions;
use self::revision::Revision;
use crate::components;
use crate::interrupt::Interrupt;
use crate::set_up::{self, Tools};
use crate::workspace::Workspace;

/// Measure requests a second and CPU time an answer
///
/// Five cases: hits of the memory tier over 100,000 keys drawn by Zipf 1.0; an uncached `echo`,
/// a fresh instance each; and uncached searches by mode (dense, keyword, hybrid) of 400
/// documents, whose questions have been embedded before. All are asked by POST with JSON bodies
/// over kept-alive connections.
///
/// Without --against, hit and echo are compared with a plain server that sends the same bytes,
/// and fail where an answer costs more CPU time over it than it may. CPU time is all of the
/// machine's but the load generator's: let nothing else run. Then the sandbox's price:
/// `search` as a component against the same code compiled natively.
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
    /// Compare with this revision of the repository: a commit, a tag, a branch
    #[arg(long, value_name = "REV")]
    against: Option<String>,
    /// Print only, whatever the figures are
    #[arg(long)]
    no_bounds: bool,
}

#[derive(Subcommand)]
enum Command {
    Instructions(Instructions),
}

/// How long is measured.
#[derive(Args, Clone, Copy)]
pub(crate) struct Timing {
    /// How often the servers of --against are started again
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    starts: u16,
    /// Rounds; every case runs once in each. --against shares them out among its starts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds that a case runs in a round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections, each with one request in flight
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
        // Servers, folders and worktrees are stopped and removed as this future is dropped.
        let mut interrupt = Interrupt::new()?;
        tokio::select! {
            result = self.measure() => result,
            () = interrupt.received() => bail!("interrupted"),
        }
    }

    async fn measure(self) -> Result<()> {
        match (self.command, self.against) {
            (Some(Command::Instructions(instructions)), _) => instructions.run().await,
            (None, Some(revision)) => against::run(self.timing, &revision, self.no_bounds).await,
            (None, None) => floor::run(self.timing, self.no_bounds).await,
        }
    }
}

/// This checkout with its tools, its plugins built.
fn this_checkout() -> Result<(Workspace, Tools)> {
    let workspace = Workspace::find()?;
    let tools = set_up::set_up()?;
    components::build_plugins(&workspace, &tools.wasm)?;
    Ok((workspace, tools))
}
