//! `weir plugin`: finds the admin listener and its token, and leaves the rest to the client.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use weir_client::plugin::{self, Command};
use weir_runtime::plugin::section::embed;

use super::server::ServerArguments;

/// The arguments of `weir plugin`.
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
    plugin::run(&arguments.server.find()?, &arguments.command, arguments.json, read)
}

/// The name of a manifest's file.
const MANIFEST: &str = "plugin.toml";

/// A component with its manifest: the one that is given, or the one next to it, or the one that it carries.
fn read(component: &Path, manifest: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(component)
        .with_context(|| format!("cannot read the component {}", component.display()))?;
    let beside = component.with_file_name(MANIFEST);
    let manifest = match manifest {
        Some(manifest) => manifest,
        None if beside.is_file() => &beside,
        None => return Ok(bytes),
    };
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("cannot read the manifest {}", manifest.display()))?;
    embed(&bytes, &text).with_context(|| format!("{} cannot carry a manifest", component.display()))
}
