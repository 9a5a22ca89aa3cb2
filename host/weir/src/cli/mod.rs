//! The command line: `weir serve`, `weir ingest`, `weir check`, `weir cache`,
//! `weir plugin`, `weir apply`, `weir token`, `weir audit`, `weir api-key`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api_key;
mod apply;
mod cache;
mod check;
mod compile;
mod plugin;
mod serve;
mod server;
mod token;

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
    /// Prints `weir listening on ADDRESS` to standard output once it answers requests, and the same of
    /// the admin listener; the log
    /// goes to standard error. The first signal starts a drain: requests in flight finish within
    /// server.drain_timeout_ms. A second signal ends the server at once.
    Serve(serve::Arguments),
    /// Store files in a collection of a running server.
    ///
    /// Folders are walked in sorted order. A document's id is its path within the folder, or
    /// the path of the file as given; it replaces a document with the same id. The exit status
    /// is not 0 if something was not stored.
    Ingest(weir_client::Arguments),
    /// Check a configuration without serving it.
    ///
    /// Loads every component that it names: compiles it, checks it against its grants, links
    /// it, and asks each policy for its plan. Opens no store and loads no model.
    Check {
        /// The configuration; examples/search/weir.toml documents every key.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Explain, invalidate and warm the cache of a running server.
    Cache(cache::Arguments),
    /// Write, build and test plugins, push them to a running server, deploy them, and roll them back.
    Plugin(plugin::Arguments),
    /// Deploy what weir.toml says, where administrators have deployed something else.
    ///
    /// It is the weir.toml that the server started with. What it does not name stays as it is.
    Apply(apply::Arguments),
    /// Make tokens for others who administer a running server, and revoke them.
    Token(token::Arguments),
    /// Show what administrators have changed on a running server, and who it was.
    Audit(token::AuditArguments),
    /// Compile a component for the server that starts this.
    #[command(hide = true)]
    Compile,
    /// Create an API key for a tenant.
    ///
    /// Prints the key for the tenant, and the api_keys line for [tenants.NAME]. The
    /// configuration stores only a hash: the key is shown once and cannot be recovered.
    ApiKey,
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Ingest(arguments) => weir_client::run(&arguments),
        Command::Check { config } => check::run(&config),
        Command::Cache(arguments) => cache::run(&arguments),
        Command::Plugin(arguments) => plugin::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Audit(arguments) => token::audit(&arguments),
        Command::Compile => compile::run(),
        Command::ApiKey => api_key::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each only once, because many errors already include their cause.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        text if text.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_of_all_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_cause_is_said_once() {
        let error = anyhow::anyhow!("disk full").context("a: disk full").context("cannot start");
        assert_eq!(with_causes(&error), "cannot start: a: disk full");
    }
}
