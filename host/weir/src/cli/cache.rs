//! `weir cache`: finds the admin listener and its token, and leaves the rest to the client.

use weir_client::cache::{self, Command};

use super::server::ServerArguments;

/// The arguments of `weir cache`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Does what the arguments say.
///
/// # Errors
/// There is no token, or the server cannot be reached or refuses.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    cache::run(&arguments.server.find()?, &arguments.command, arguments.json)
}
