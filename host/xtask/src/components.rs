//! Builds guests into components: those in `plugins/` and `tests/guests/`, and crates elsewhere.
//!
//! Cargo decides what to compile. Encoding modules as components takes milliseconds and is done
//! every time, so no component can be out of date. A file is written only if its bytes change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use wit_component::ComponentEncoder;

use crate::process;
use crate::set_up::{WASM_TARGET, WasmToolchain};
use crate::workspace::Workspace;

/// Components by name, ready to be written.
pub(crate) type Components = BTreeMap<String, Vec<u8>>;

/// Builds the plugins and the tests' guests into `plugins/` and `guests/` of
/// [`Workspace::components`]. Skips a workspace that does not exist.
pub(crate) fn build(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    build_plugins(workspace, toolchain)?;
    build_folder(workspace, toolchain, "tests/guests", "guests")
}

/// Builds only the plugins, for commands that need no other guests.
pub(crate) fn build_plugins(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    build_folder(workspace, toolchain, "plugins", "plugins")
}

fn build_folder(
    workspace: &Workspace,
    toolchain: &WasmToolchain,
    source: &str,
    name: &str,
) -> Result<()> {
    let source = workspace.root.join(source);
    if source.join("Cargo.toml").is_file() {
        let mut build = toolchain.cargo_build()?;
        build.arg("--workspace");
        // Flags for the host, such as a linker or a CPU, are not meant for guests.
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let mut components = compile(workspace, build, &source)?;
        components.extend(ready_made(&source.join("raw"))?);
        write(&workspace.components().join(name), &components)?;
    }
    Ok(())
}

/// Builds a crate in any folder the way `plugins/` is built, and returns the component of its one
/// plugin.
pub(crate) fn build_crate(
    workspace: &Workspace,
    toolchain: &WasmToolchain,
    folder: &Path,
) -> Result<Vec<u8>> {
    ensure!(
        folder.join("Cargo.toml").is_file(),
        "{} has no Cargo.toml: give the folder of the plugin's crate",
        folder.display(),
    );
    let mut build = toolchain.cargo_build()?;
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !folder.join(CARGO_CONFIGURATION).is_file() {
        build.env("CARGO_ENCODED_RUSTFLAGS", flags_of_plugins(workspace)?.join("\x1f"));
    }
    let mut components = compile(workspace, build, folder)?;
    let Some((_, component)) = components.pop_first() else {
        bail!(
            "{} has no library to build a component from; its Cargo.toml needs\n    \
             [lib]\n    crate-type = [\"cdylib\"]",
            folder.display(),
        );
    };
    ensure!(
        components.is_empty(),
        "{} is a workspace with several plugins: give the folder of one of them",
        folder.display(),
    );
    Ok(component)
}

/// Cargo's configuration file, in the folder of a crate or a workspace.
const CARGO_CONFIGURATION: &str = ".cargo/config.toml";

/// The compiler flags of `plugins/`, from its cargo configuration.
fn flags_of_plugins(workspace: &Workspace) -> Result<Vec<String>> {
    let file = workspace.root.join("plugins").join(CARGO_CONFIGURATION);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let configuration: CargoConfiguration =
        toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    let target = configuration.target.into_iter().find(|(name, _)| name == WASM_TARGET);
    let (_, target) =
        target.with_context(|| format!("{} has no section for {WASM_TARGET}", file.display()))?;
    Ok(target.rustflags)
}

#[derive(Deserialize)]
struct CargoConfiguration {
    target: BTreeMap<String, TargetConfiguration>,
}

#[derive(Deserialize)]
struct TargetConfiguration {
    rustflags: Vec<String>,
}

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

/// Runs `build` in a folder and encodes every `cdylib` that it compiles. A component has the name
/// of its package's folder.
fn compile(workspace: &Workspace, mut build: Command, source: &Path) -> Result<Components> {
    build
        // Cargo reads the configuration of the folder that it runs in.
        .current_dir(source)
        .arg("--target-dir")
        .arg(workspace.guests_target())
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = build.output().with_context(|| format!("starting `{}`", process::line(&build)))?;
    ensure!(
        output.status.success(),
        "compiling {} to {WASM_TARGET} failed: `{}` ended with {}",
        source.display(),
        process::line(&build),
        output.status,
    );
    let mut components = Components::new();
    for module in modules(&output.stdout)? {
        let component = encode(&module.path)
            .with_context(|| format!("encoding {} as a component", module.path.display()))?;
        if components.insert(module.name.clone(), component).is_some() {
            bail!("two packages are in folders named {}", module.name);
        }
    }
    Ok(components)
}

/// A compiled core module.
#[derive(Debug, PartialEq)]
struct Module {
    /// The name of its package's folder.
    name: String,
    path: PathBuf,
}

fn modules(messages: &[u8]) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for line in messages.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Message = serde_json::from_slice(line).context("reading cargo's messages")?;
        let is_guest = message.reason == "compiler-artifact"
            && message.target.is_some_and(|target| target.kind.iter().any(|k| k == "cdylib"));
        if !is_guest {
            continue;
        }
        let name = message
            .manifest_path
            .as_deref()
            .and_then(|manifest| manifest.parent()?.file_name()?.to_str())
            .context("cargo reported an artifact without its package's folder")?
            .to_owned();
        let is_wasm = |path: &PathBuf| path.extension().is_some_and(|e| e == "wasm");
        let path = message
            .filenames
            .into_iter()
            .find(is_wasm)
            .with_context(|| format!("compiling {name} gave no .wasm file"))?;
        modules.push(Module { name, path });
    }
    Ok(modules)
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module)?;
    ComponentEncoder::default().module(&module)?.validate(true).encode()
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
    components
        .iter()
        .try_for_each(|(name, bytes)| write_one(&folder.join(name).with_extension("wasm"), bytes))
}

/// Writes a component, unless the file already has the same bytes.
pub(crate) fn write_one(path: &Path, bytes: &[u8]) -> Result<()> {
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
    fn modules_are_cdylibs_named_after_their_folder() {
        let messages = br#"
{"reason":"compiler-artifact","manifest_path":"/p/sdk/Cargo.toml","target":{"kind":["lib"]},"filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/p/policy-default/Cargo.toml","target":{"kind":["cdylib","rlib"]},"filenames":["/t/libp.rlib","/t/policy_default.wasm"]}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}
"#;
        let expected =
            Module { name: "policy-default".into(), path: "/t/policy_default.wasm".into() };
        assert_eq!(modules(messages).unwrap(), [expected]);
    }

    #[test]
    fn crates_elsewhere_are_linked_like_plugins() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: root.path().to_owned(), target: PathBuf::new() };
        assert!(flags_of_plugins(&workspace).is_err());
        fs::create_dir_all(root.path().join("plugins/.cargo")).unwrap();
        let file = root.path().join("plugins").join(CARGO_CONFIGURATION);
        fs::write(&file, "[target.other]\nrustflags = []").unwrap();
        assert!(flags_of_plugins(&workspace).unwrap_err().to_string().contains(WASM_TARGET));
        fs::write(&file, format!("[target.{WASM_TARGET}]\nrustflags = [\"-a\", \"-b\"]")).unwrap();
        assert_eq!(flags_of_plugins(&workspace).unwrap(), ["-a", "-b"]);
    }

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
