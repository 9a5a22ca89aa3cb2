//! The paths of the workspace, its target folder and the user's cache folder.
//!
//! It only builds paths, and does not create or read Weir's files.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

const FUZZ_MANIFEST: &str = "host/cache/fuzz/Cargo.toml";

/// The workspace that `cargo xtask` runs in.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, as set by `CARGO_TARGET_DIR` or cargo's configuration.
    pub(crate) target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo at run time: a compiled-in path would be wrong if two checkouts share a target
    /// folder.
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

    /// The release build of `weir` that can have a fault, for tests.
    pub(crate) fn faulty_binary(&self) -> PathBuf {
        self.target.join("release").join(format!("weir-faulty{}", std::env::consts::EXE_SUFFIX))
    }

    /// The folder with the components of `plugins/`, one `NAME.wasm` per plugin.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.components().join("plugins")
    }

    /// The folder with all components, in `plugins/`, `guests/` and `outside/`.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("weir-components")
    }

    /// The target folder of guests. It is separate from the host's, so that neither build waits for
    /// the other. All guests share it, so that std is compiled only once.
    pub(crate) fn guests_target(&self) -> PathBuf {
        self.target.join("weir-guests")
    }

    /// The manifests of this workspace and of those for the same target, if they exist.
    pub(crate) fn host_manifests(&self) -> Vec<PathBuf> {
        self.existing(&["Cargo.toml", FUZZ_MANIFEST])
    }

    /// The manifests of the guests' workspaces, if they exist.
    pub(crate) fn guest_manifests(&self) -> Vec<PathBuf> {
        self.existing(&["plugins/Cargo.toml", "tests/guests/Cargo.toml"])
    }

    fn existing(&self, manifests: &[&str]) -> Vec<PathBuf> {
        let manifests = manifests.iter().map(|manifest| self.root.join(manifest));
        manifests.filter(|manifest| manifest.is_file()).collect()
    }

    /// The manifest of the workspace with the fuzz targets.
    pub(crate) fn fuzz_manifest(&self) -> PathBuf {
        self.root.join(FUZZ_MANIFEST)
    }

    /// The Cranfield collection, if it is next to the checkout.
    pub(crate) fn cranfield(&self) -> Option<PathBuf> {
        self.root.join("../shared/data/cranfield").canonicalize().ok()
    }
}

/// Weir's folder in the user's cache folder, as the XDG base directory specification defines it.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    // The specification says to ignore relative paths.
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME names a folder")?;
    Ok(base.join("weir"))
}
