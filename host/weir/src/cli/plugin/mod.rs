//! `weir plugin`: what authors do on their own machine, and what they then do with a server, which finds the admin
//! listener and its token and leaves the rest to the client.

mod build;
mod dev;
mod new;
mod test;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use weir_authoring::toolchain::Profile;
use weir_client::plugin::{self, Command as Remote};
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

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the cases and the samples of a plugin's manifest, without a server.
    ///
    /// Each request is answered by the plugin on the engine that servers have, over a tenant that is empty, in
    /// memory and gone afterwards. The exit status is not 0 if an answer is not as expected. With --config, the
    /// plugin embeds with the models of that configuration; without it, there is no model.
    Test(test::Arguments),
    /// Write the crate of a new plugin.
    ///
    /// It is a small plugin that works, with a README that says how to go on. It needs nothing but Rust: the SDK
    /// and the WIT are written next to it. Nothing is overwritten.
    New(new::Arguments),
    /// Compile a plugin, and make a component of it that carries its plugin.toml.
    ///
    /// Prints its file, which is always target/NAME.wasm, and its digest. The same source gives the same digest. If
    /// Rust cannot compile to WebAssembly yet, rustup adds the target.
    Build(build::Arguments),
    /// Build a plugin and put it in service, and again on each save, until Ctrl-C.
    ///
    /// What does not compile, or is refused by the server, changes nothing: what was in service before stays there.
    Dev(dev::Arguments),
    #[command(flatten)]
    Remote(Remote),
}

/// Which crate it is, and how it is compiled.
#[derive(Debug, clap::Args)]
struct Source {
    /// The folder of the plugin's crate.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,
    /// Compile without optimizations, which is faster.
    #[arg(long)]
    debug: bool,
}

impl Source {
    fn profile(&self) -> Profile {
        if self.debug { Profile::Debug } else { Profile::Release }
    }
}

/// Does what the arguments say.
///
/// # Errors
/// What is to be made cannot be made, or a test fails; or there is no token, or the server cannot be reached or refuses.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { server, json, command } = arguments;
    match command {
        Command::New(arguments) => new::run(arguments, *json),
        Command::Build(arguments) => build::run(arguments, *json),
        Command::Dev(arguments) => dev::run(arguments, &server.find()?, *json),
        Command::Test(arguments) => test::run(arguments, server.config(), *json),
        Command::Remote(command) => plugin::run(&server.find()?, command, *json, read),
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
