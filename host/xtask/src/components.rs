//! Builds guests into components: those in `plugins/` and `tests/guests/`.
//!
//! What it takes to build one is in `weir_authoring`. A file is written only if its bytes change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_authoring::compile;
use weir_authoring::toolchain::{Profile, Toolchain};

use crate::workspace::Workspace;

/// Components by name, ready to be written.
pub(crate) type Components = BTreeMap<String, Vec<u8>>;

/// Builds the plugins and the tests' guests into `plugins/` and `guests/` of
/// [`Workspace::components`]. Skips a workspace that does not exist.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    build_plugins(workspace, toolchain)?;
    build_folder(workspace, toolchain, "tests/guests", "guests")
}

/// Builds only the plugins, for commands that need no other guests.
pub(crate) fn build_plugins(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    build_folder(workspace, toolchain, "plugins", "plugins")
}

fn build_folder(
    workspace: &Workspace,
    toolchain: &Toolchain,
    source: &str,
    name: &str,
) -> Result<()> {
    let source = workspace.root.join(source);
    if source.join("Cargo.toml").is_file() {
        let build = toolchain.cargo_build(Profile::Release)?;
        let mut components = components(workspace, build, &source)?;
        components.extend(ready_made(&source.join("raw"))?);
        write(&workspace.components().join(name), &components)?;
    }
    Ok(())
}

/// Runs `build` in a folder and encodes every plugin that it compiles. A component has the name of its package's
/// folder.
fn components(workspace: &Workspace, mut build: Command, source: &Path) -> Result<Components> {
    build.arg("--workspace").arg("--target-dir").arg(workspace.guests_target());
    let mut components = Components::new();
    for module in compile::modules(build, source)? {
        let name = module.package.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name", module.package.display()))?;
        if components.insert(name.to_owned(), compile::encode(&module.path)?).is_some() {
            bail!("two packages are in folders named {name}");
        }
    }
    Ok(components)
}

/// Reads the guests that are not compiled: text components (`.wat`) are assembled; other files,
/// such as one that is not a component, are copied unchanged.
fn ready_made(folder: &Path) -> Result<Components> {
    let mut components = Components::new();
    if !folder.is_dir() {
        return Ok(components);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let name = name
            .with_context(|| format!("the name of {} is not valid UTF-8", path.display()))?
            .to_owned();
        let bytes = if path.extension().is_some_and(|extension| extension == "wat") {
            wat::parse_file(&path)?
        } else {
            fs::read(&path)?
        };
        components.insert(name, bytes);
    }
    Ok(components)
}

/// Writes these components into a folder, and removes all other files from it.
pub(crate) fn write(folder: &Path, components: &Components) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        if !name.is_some_and(|name| components.contains_key(name)) {
            fs::remove_file(&path)?;
        }
    }
    components.iter().try_for_each(|(name, bytes)| {
        compile::write(&folder.join(name).with_extension("wasm"), bytes)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn raw_guests_are_assembled_or_copied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("empty.wat"), "(component)").unwrap();
        fs::write(folder.path().join("text.txt"), "no component").unwrap();
        let guests = ready_made(folder.path()).unwrap();
        assert_eq!(guests["empty"], b"\0asm\x0d\0\x01\0");
        assert_eq!(guests["text"], b"no component");
        assert!(ready_made(&folder.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn the_folder_holds_exactly_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let mut components = Components::from([("a".into(), vec![1]), ("b".into(), vec![2])]);
        write(folder.path(), &components).unwrap();
        components.remove("a");
        components.insert("b".into(), vec![3]);
        write(folder.path(), &components).unwrap();
        assert!(!folder.path().join("a.wasm").exists());
        assert_eq!(fs::read(folder.path().join("b.wasm")).unwrap(), [3]);
    }
}
