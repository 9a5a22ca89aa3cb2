//! `cargo xtask`: the tasks of this repository, from set-up to benchmarks.
//!
//! `commands` has one module per command. The code that several of them share is next to this
//! file: `set_up` installs what a machine needs, `components` builds guests, `server` runs a server
//! as a child process, `client` talks to it over HTTP, `traffic` loads it, `watch` looks at its
//! process, and `machine` tells what it runs on.

mod client;
mod commands;
mod components;
mod interrupt;
mod machine;
mod outside;
mod packages;
mod progress;
mod server;
mod set_up;
mod traffic;
mod watch;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use weir_authoring::process;

use crate::commands::{bench, ci, compare, demo, dist, eval, replay, setup, soak, structure, test};

/// Set-up, demo, tests, evaluation and benchmarks of Weir.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Setup),
    Demo(demo::Demo),
    Test(test::Test),
    Soak(soak::Soak),
    Structure(structure::Structure),
    Ci(ci::Ci),
    Eval(eval::Eval),
    Dist(dist::Dist),
    Bench(bench::Bench),
    Replay(replay::Replay),
    Compare(compare::Compare),
    #[command(hide = true)]
    BenchLoad(bench::generator::BenchLoad),
    #[command(hide = true)]
    BenchSide(bench::side::BenchSide),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        // Not returned: `main` would print a backtrace with it if RUST_BACKTRACE is set.
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup(setup) => setup.run(),
        Command::Demo(demo) => demo.run().await,
        Command::Test(test) => test.run(),
        Command::Soak(soak) => soak.run().await,
        Command::Structure(structure) => structure.run(),
        Command::Ci(ci) => ci.run().await,
        Command::Dist(dist) => dist.run().await,
        Command::Eval(eval) => eval.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Replay(replay) => replay.run().await,
        Command::Compare(compare) => compare.run().await,
        Command::BenchLoad(load) => load.run().await,
        Command::BenchSide(side) => side.run(),
    }
}
