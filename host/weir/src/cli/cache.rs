//! `weir cache`: finds the admin listener and its token, and leaves the rest to the client.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use weir_client::cache::{self, Command, Server};

use crate::config::Config;

/// The arguments of `weir cache`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server's configuration, which says where its admin listener and the token are.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The admin listener, instead of the configuration's.
    #[arg(long, env = "WEIR_ADMIN_URL", global = true)]
    url: Option<String>,
    /// The file of the token, instead of the configuration's.
    #[arg(long, value_name = "FILE", env = "WEIR_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
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
    let config = arguments.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => format!("http://{}", config.admin.listen),
    };
    let has_source = arguments.config.is_some() || arguments.token_file.is_some();
    anyhow::ensure!(has_source, "say where the token is: --config FILE or --token-file FILE");
    let file = arguments.token_file.clone().unwrap_or_else(|| config.admin_token_file());
    let token = fs::read_to_string(&file)
        .with_context(|| format!("cannot read the admin token {}", file.display()))?;
    let server = Server { url, token: token.trim().to_owned() };
    cache::run(&server, &arguments.command, arguments.json)
}
