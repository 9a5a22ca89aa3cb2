//! `weir plugin`: what authors do with a component on their own machine, and what it takes to leave the rest to the
//! client: the admin listener and its token.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use weir_client::plugin;
use weir_runtime::plugin::section::embed;

use super::server::ServerArguments;

mod test;

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

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the cases and the samples of a plugin's manifest, without a server.
    ///
    /// Each request is answered by the plugin on the engine that servers have, over a tenant that is empty, in
    /// memory and gone afterwards. The exit status is not 0 if an answer is not as expected. With --config, the
    /// plugin embeds with the models of that configuration; without it, there is no model.
    Test(test::Arguments),
    #[command(flatten)]
    OfServer(plugin::Command),
}

/// Does what the arguments say.
///
/// # Errors
/// A test fails; or there is no token, or the server cannot be reached or refuses.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { server, json, command } = arguments;
    match command {
        Command::Test(arguments) => test::run(arguments, server.config(), *json),
        Command::OfServer(command) => plugin::run(&server.find()?, command, *json, read),
    }
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
