//! Where things are: the workspace, its target folder and the user's cache folder.
//!
//! Nothing here creates or reads a file of Weir's; it only names them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The workspace that `cargo xtask` was called in.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever `CARGO_TARGET_DIR` or the configuration put it.
    pub(crate) target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo, at run time: a path compiled in would be wrong as soon as two
    /// checkouts share a target folder.
    pub(crate) fn find() -> Result<Self> {
        let mut metadata = process::cargo();
        metadata.args(["metadata", "--no-deps", "--format-version=1"]);
        if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
            metadata.current_dir(package);
        }
        let json = process::output(&mut metadata)?;
        let metadata: Metadata =
            serde_json::from_str(&json).context("reading the answer of `cargo metadata`")?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory })
    }

    /// The release build of the `weir` binary.
    pub(crate) fn server_binary(&self) -> PathBuf {
        self.target.join("release").join(format!("weir{}", std::env::consts::EXE_SUFFIX))
    }

    /// Where the components of `plugins/` are, one `NAME.wasm` each.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.components().join("plugins")
    }

    /// Where components built from source are: `plugins/` and `guests/` below it.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("weir-components")
    }

    /// The target folder of all guests, apart from the host's, so that neither build waits
    /// for the other, and one, so that std is compiled once.
    pub(crate) fn guests_target(&self) -> PathBuf {
        self.target.join("weir-guests")
    }

    /// The manifests of the workspace itself and of the guests' workspaces, those that exist.
    pub(crate) fn manifests(&self) -> Vec<PathBuf> {
        ["Cargo.toml", "plugins/Cargo.toml", "tests/guests/Cargo.toml"]
            .into_iter()
            .map(|manifest| self.root.join(manifest))
            .filter(|manifest| manifest.is_file())
            .collect()
    }

    /// The Cranfield collection, if it is next to the checkout.
    pub(crate) fn cranfield(&self) -> Option<PathBuf> {
        self.root.join("../shared/data/cranfield").canonicalize().ok()
    }
}

/// `weir` in the user's cache folder, by the XDG base directory specification.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    // The specification says that a relative path is to be ignored.
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME names a folder")?;
    Ok(base.join("weir"))
}
