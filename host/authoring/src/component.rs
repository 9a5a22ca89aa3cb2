//! The component of one plugin, from the folder of its crate.
//!
//! The same source with the same compiler gives the same bytes, wherever the folder is.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::compile::{encode, modules};
use crate::toolchain::{Profile, Toolchain};

/// What came of a crate.
#[derive(Debug)]
pub struct Component {
    /// The component's file, without a manifest.
    pub bytes: Vec<u8>,
    /// When the compiler ended.
    pub compiled: Instant,
}

/// Compiles the crate in a folder, and encodes its one plugin as a component. `target` is cargo's target folder, if
/// it is another than the crate's.
///
/// # Errors
/// The folder has no crate of a plugin, or it cannot be compiled; the compiler has said why.
pub fn build(
    toolchain: &Toolchain,
    folder: &Path,
    profile: Profile,
    target: Option<&Path>,
) -> Result<Component> {
    let shown = folder.display();
    ensure!(
        folder.join("Cargo.toml").is_file(),
        "{shown} has no Cargo.toml: give the folder of the plugin's crate, or make one with `weir plugin new`"
    );
    let folder =
        folder.canonicalize().with_context(|| format!("looking for the crate in {shown}"))?;
    let mut command = toolchain.cargo_build(profile)?;
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    let found = modules(command, &folder)?;
    let compiled = Instant::now();
    // A dependency may also be a plugin.
    match found.into_iter().find(|module| module.package == folder) {
        Some(module) => Ok(Component { bytes: encode(&module.path)?, compiled }),
        None => bail!(
            "{shown} has no library to make a component of; its Cargo.toml needs\n    \
             [lib]\n    crate-type = [\"cdylib\"]"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_folder_without_a_crate_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = build(&Toolchain::Installed, folder.path(), Profile::Release, None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("weir plugin new"), "{error}");
    }
}
