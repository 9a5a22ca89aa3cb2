//! `cargo xtask plugin`: builds the crate of a plugin, in any folder, into a component.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::components;
use crate::set_up;
use crate::workspace::Workspace;

/// Build the crate of a plugin, in any folder, into a component
///
/// The crate must depend on weir-sdk, by path or by git, and its Cargo.toml must contain
///
///     [lib]
///     crate-type = ["cdylib"]
///
/// It is compiled and linked like the plugins of this repository, unless it has its own
/// .cargo/config.toml. `component` in weir.toml is the path of the resulting file.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Plugin {
    /// The folder of the crate
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The file to write; by default FOLDER/NAME.wasm, where NAME is the folder's name
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Plugin {
    pub(crate) fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let folder = self
            .folder
            .canonicalize()
            .with_context(|| format!("looking for the crate in {}", self.folder.display()))?;
        let out = match self.out {
            Some(out) => out,
            None => {
                let name = folder.file_name().context("the root folder is not a crate")?;
                folder.join(name).with_extension("wasm")
            }
        };
        let toolchain = set_up::wasm()?;
        let component = components::build_crate(&workspace, &toolchain, &folder)?;
        if let Some(parent) = out.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        components::write_one(&out, &component)?;
        println!("{} ({} kB)", out.display(), component.len().div_ceil(1000));
        Ok(())
    }
}
