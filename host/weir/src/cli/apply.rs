//! `weir apply`: has a running server deploy what its configuration says.

use weir_client::plugin;

use super::server::ServerArguments;

/// The arguments of `weir apply`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// There is no token, or the server cannot be reached or refuses.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    plugin::apply(&arguments.server.find()?, arguments.json)
}
