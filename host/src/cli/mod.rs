//! The command line: `weir serve`, `weir ingest`, `weir check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

pub mod ingest;
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
    /// Bring files into a collection of a running server.
    ///
    /// Folders are walked in sorted order; a document is called by its path below the
    /// folder, or as its file was given, and replaces one of the same name. The exit status
    /// is not 0 when something was not stored.
    Ingest(ingest::Arguments),
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
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Check { config } => check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each once: many say their cause in their own words.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        text if text.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let missing: Vec<String> = config
        .files()
        .filter(|(_, file)| !file.is_file())
        .map(|(key, file)| format!("{key}: there is no file {}", file.display()))
        .collect();
    anyhow::ensure!(missing.is_empty(), "{}:\n  {}", path.display(), missing.join("\n  "));
    let (pipelines, policies) = (config.pipelines.len(), config.policies.len());
    println!("{}: valid, with {pipelines} pipelines and {policies} policies", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let error = anyhow::anyhow!("disk full").context("a: disk full").context("cannot start");
        assert_eq!(with_causes(&error), "cannot start: a: disk full");
    }
}
