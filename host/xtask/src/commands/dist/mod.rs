//! `cargo xtask dist`: packs a tarball that runs on a machine where nothing is installed.
//!
//! `archive` writes the tarball, `licences` collects the licences of third-party crates,
//! `libraries` finds out what the system must provide, and `check` runs the result.

mod archive;
mod check;
mod libraries;
mod licences;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use sha2::{Digest, Sha256};
use weir_authoring::toolchain::TARGET;

use self::archive::{Entries, Entry};
use crate::commands::test::build_server;
use crate::packages::{Package, Packages};
use crate::set_up::{self, Tools};
use crate::workspace::Workspace;
use crate::{components, process};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PLATFORM: &str = "x86_64-linux";
const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";
const PLUGINS: [&str; 3] = ["echo", "policy-default", "search"];

/// Pack the server, its plugins and a model into a tarball
///
/// Writes weir-VERSION-x86_64-linux.tar.gz to the target folder, and its sha-256 next to it. The
/// tarball contains the server, ONNX Runtime, the model, the plugins, a configuration that runs
/// as it is, and the licences. The same files give the same bytes.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Dist {
    /// Unpack the tarball into an empty folder; serve, ingest and search there, with no environment
    #[arg(long)]
    check: bool,
}

impl Dist {
    /// `--check`.
    pub(crate) fn checked() -> Self {
        Self { check: true }
    }

    pub(crate) async fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        components::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        let name = format!("weir-{VERSION}-{PLATFORM}");
        let archive = workspace.target.join(format!("{name}.tar.gz"));
        archive::write(&archive, &name, &entries(&workspace, &tools)?)?;
        write_digest(&archive)?;
        let megabytes = fs::metadata(&archive)?.len() / 1_000_000;
        println!("{} ({megabytes} MB)", archive.display());
        if self.check {
            check::run(&archive, &name).await?;
        }
        Ok(())
    }
}

/// What is packed, by path in the tarball's folder.
fn entries(workspace: &Workspace, tools: &Tools) -> Result<Entries> {
    let root = &workspace.root;
    let server = stripped(workspace)?;
    let embedding = &tools.embedding;
    let mut entries = Entries::new();
    let mut add = |path: &str, entry| {
        entries.insert(PathBuf::from(path), entry);
    };
    add("README.md", Entry::Text(readme(&[&server, &embedding.library])?));
    add("LICENSE", Entry::File(root.join("LICENSE")));
    add("weir.toml", Entry::Text(include_str!("weir.toml").to_owned()));
    add("weir", Entry::Program(server));
    add("lib/libonnxruntime.so", Entry::File(embedding.library.clone()));
    add("model/model.onnx", Entry::File(embedding.model.clone()));
    add("model/tokenizer.json", Entry::File(embedding.tokenizer.clone()));
    for plugin in PLUGINS {
        let component = workspace.plugins().join(plugin).with_extension("wasm");
        add(&format!("plugins/{plugin}/{plugin}.wasm"), Entry::File(component));
        let manifest = root.join("plugins").join(plugin).join("plugin.toml");
        add(&format!("plugins/{plugin}/plugin.toml"), Entry::File(manifest));
    }
    for (path, file) in set_up::licences()? {
        add(&format!("licenses/{path}"), Entry::File(file));
    }
    add("licenses/crates.txt", Entry::Text(licences_of_crates(root)?));
    Ok(entries)
}

/// Copies the server without its debugging information. Function names stay, for backtraces.
fn stripped(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("weir-dist");
    fs::create_dir_all(&folder)?;
    let stripped = folder.join("weir");
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(&stripped).arg(workspace.server_binary());
    process::run(&mut strip)?;
    Ok(stripped)
}

fn readme(files: &[&Path]) -> Result<String> {
    let glibc = libraries::newest_glibc(files)?;
    Ok(include_str!("README.md").replace("{version}", VERSION).replace("{glibc}", &glibc))
}

fn licences_of_crates(root: &Path) -> Result<String> {
    let workspaces = [
        Packages::read(&root.join("Cargo.toml"), HOST_TARGET)?,
        Packages::read(&root.join("plugins/Cargo.toml"), TARGET)?,
    ];
    let is_shipped =
        |package: &Package| package.name == "weir" || PLUGINS.contains(&package.name.as_str());
    licences::of_crates(&workspaces, &is_shipped)
}

/// Writes `ARCHIVE.sha256`, in the format that `sha256sum --check` reads.
fn write_digest(archive: &Path) -> Result<()> {
    let bytes = fs::read(archive)?;
    let name =
        archive.file_name().context("the path of the archive has no file name")?.to_string_lossy();
    let line = format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let file = digest_of(archive);
    fs::write(&file, line).with_context(|| format!("writing {}", file.display()))
}

fn digest_of(archive: &Path) -> PathBuf {
    let mut file = archive.as_os_str().to_owned();
    file.push(".sha256");
    file.into()
}
