//! Runs cargo, and encodes what it compiles as components.
//!
//! Cargo decides what to compile. Encoding a module as a component takes milliseconds and is done every time,
//! so no component can be out of date. A file is written only if its bytes change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use wit_component::ComponentEncoder;

use crate::process;

/// What a component's file begins with.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The fields that matter of one line of cargo's `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// A compiled `cdylib`.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// The folder of its package.
    pub package: PathBuf,
    /// Its file.
    pub path: PathBuf,
}

/// Runs `build` in a folder, whose configuration of cargo it then has, and returns every `cdylib` that it compiles.
/// What cargo and the compiler say goes to standard error.
///
/// # Errors
/// Cargo does not start or does not succeed.
pub fn modules(mut build: Command, folder: &Path) -> Result<Vec<Module>> {
    build
        .current_dir(folder)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = build.output().with_context(|| format!("starting `{}`", process::line(&build)))?;
    ensure!(
        output.status.success(),
        "compiling {} failed: `{}` ended with {}",
        folder.display(),
        process::line(&build),
        output.status,
    );
    read(&output.stdout)
}

fn read(messages: &[u8]) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for line in messages.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Message = serde_json::from_slice(line).context("reading cargo's messages")?;
        let is_guest = message.reason == "compiler-artifact"
            && message.target.is_some_and(|target| target.kind.iter().any(|k| k == "cdylib"));
        if !is_guest {
            continue;
        }
        let package = message
            .manifest_path
            .as_deref()
            .and_then(Path::parent)
            .context("cargo reported an artifact without its package's folder")?
            .to_owned();
        let is_wasm = |path: &PathBuf| path.extension().is_some_and(|e| e == "wasm");
        let path = message
            .filenames
            .into_iter()
            .find(is_wasm)
            .with_context(|| format!("compiling {} gave no .wasm file", package.display()))?;
        modules.push(Module { package, path });
    }
    Ok(modules)
}

/// Reads a compiled file, and encodes it as a component if it is not one.
///
/// # Errors
/// It cannot be read, or is not a module whose imports and exports WIT describes.
pub fn encode(path: &Path) -> Result<Vec<u8>> {
    let encode = || {
        let bytes = fs::read(path)?;
        if bytes.starts_with(COMPONENT) {
            return Ok(bytes);
        }
        ComponentEncoder::default().module(&bytes)?.validate(true).encode()
    };
    encode().with_context(|| format!("encoding {} as a component", path.display()))
}

/// Writes a component, unless the file already has the same bytes.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    // Written to another file first, because a server may be reading this one.
    let unfinished = path.with_extension(format!("unfinished.{}", std::process::id()));
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn modules_are_cdylibs_with_the_folder_of_their_package() {
        let messages = br#"
{"reason":"compiler-artifact","manifest_path":"/p/sdk/Cargo.toml","target":{"kind":["lib"]},"filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/p/policy-default/Cargo.toml","target":{"kind":["cdylib","rlib"]},"filenames":["/t/libp.rlib","/t/policy_default.wasm"]}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}
"#;
        let expected =
            Module { package: "/p/policy-default".into(), path: "/t/policy_default.wasm".into() };
        assert_eq!(read(messages).unwrap(), [expected]);
    }

    #[test]
    fn a_component_is_taken_as_it_is_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, COMPONENT).unwrap();
        assert_eq!(encode(&path).unwrap(), COMPONENT);
        fs::write(&path, "no module").unwrap();
        let error = encode(&path).unwrap_err().to_string();
        assert!(error.contains("a.wasm"), "{error}");
    }
}
