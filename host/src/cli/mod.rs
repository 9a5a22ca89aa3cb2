//! The command line: `weir serve`, `weir ingest`, `weir check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

pub mod serve;

/// An edge runtime for query pipelines written as WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the pipelines of a configuration until SIGTERM or Ctrl-C.
    ///
    /// Standard output says `weir listening on ADDRESS` once requests are answered; the log
    /// goes to standard error. A first signal drains: requests in flight finish, within
    /// server.drain_timeout_ms. A second one ends at once.
    Serve(serve::Arguments),
    /// Say what is wrong with a configuration, and serve nothing.
    Check {
        /// The configuration; examples/search/weir.toml documents every key.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check { config } => check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let (pipelines, policies) = (config.pipelines.len(), config.policies.len());
    println!("{}: valid, with {pipelines} pipelines and {policies} policies", path.display());
    Ok(())
}
