//! `weir plugin new`: the crate of a new plugin.

use std::path::PathBuf;

use serde_json::json;
use weir_authoring::template::{self, Role};
use weir_core::name::Name;

/// The arguments of `weir plugin new`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the plugin and of its crate.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    /// What it is for.
    #[arg(long)]
    role: Role,
    /// The folder to write, instead of one with the plugin's name.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

/// Writes the crate.
///
/// # Errors
/// The name is not one of a crate, the folder is in use, or it cannot be written.
pub(super) fn run(arguments: &Arguments, as_json: bool) -> anyhow::Result<()> {
    let Arguments { name, role, path } = arguments;
    let folder = path.clone().unwrap_or_else(|| name.as_str().into());
    template::create(&folder, name, *role)?;
    let shown = folder.display().to_string();
    match as_json {
        true => println!("{:#}", json!({ "path": shown })),
        false => println!(
            "{shown} has the new plugin: its code is in src/lib.rs. Next:\n    weir plugin build --path {shown}"
        ),
    }
    Ok(())
}
