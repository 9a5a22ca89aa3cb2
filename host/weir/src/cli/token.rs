//! `weir token` and `weir audit`: finds the admin listener and its token, and leaves the rest to the client.

use weir_client::token::{self, Audit, Command};

use super::server::ServerArguments;

/// The arguments of `weir token`.
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

/// The arguments of `weir audit`.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: Audit,
}

/// Does what the arguments say.
///
/// # Errors
/// There is no token, or the server cannot be reached or refuses.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    token::run(&arguments.server.find()?, &arguments.command, arguments.json)
}

/// Shows the audit log.
///
/// # Errors
/// There is no token, or the server cannot be reached or refuses.
pub(super) fn audit(arguments: &AuditArguments) -> anyhow::Result<()> {
    token::audit(&arguments.server.find()?, &arguments.page, arguments.json)
}
