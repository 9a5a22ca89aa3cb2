//! `cargo xtask plugin`: one plugin from its crate to a component, wherever the crate is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::components;
use crate::set_up;
use crate::workspace::Workspace;

/// Build a plugin's crate, which may be anywhere, into a component
///
/// The crate depends on weir-sdk, by path or by git, and has in its Cargo.toml
///
///     [lib]
///     crate-type = ["cdylib"]
///
/// It is compiled and linked as the plugins of this repository are, unless it has flags of its
/// own in .cargo/config.toml. The component is what `weir.toml` names.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Plugin {
    /// The folder of the crate
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The file to write; FOLDER/NAME.wasm without it, NAME being that of the folder
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
                let name = folder.file_name().context("the root folder is no crate")?;
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
