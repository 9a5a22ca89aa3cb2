//! `cargo xtask structure`: that crates and modules depend on each other in one direction.
//!
//! `crates` looks at what cargo resolves, `modules` at the paths in the code, `files` at where
//! and how the files are. Nothing is compiled.

mod crates;
mod files;
mod modules;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::modules::{Cycle, Modules};
use crate::packages::Packages;
use crate::workspace::Workspace;

/// What Weir is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The uses that are shown of each edge of a cycle.
const USES_SHOWN: usize = 3;

/// Check that crates and modules are acyclic, and that files are where they belong
///
/// Crates are in an order, each depends on lower ones only, and some must not reach others.
/// Modules next to each other depend on each other in one direction, by resolved paths: inline
/// ones too, through renames, globs and re-exports, and in macros. Files open with `//!`, the
/// file of a module with a folder is `mod.rs` inside it, and none is too long.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Structure {}

impl Structure {
    pub(crate) fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let root = &workspace.root;
        let sources = files::read(root)?;
        let mut findings = files::findings(&sources);
        let manifests = ["Cargo.toml", "plugins/Cargo.toml"].map(|manifest| root.join(manifest));
        let workspaces: Vec<_> =
            manifests.iter().map(|path| Packages::read(path, TARGET)).collect::<Result<_>>()?;
        findings.extend(crates::findings(&workspaces));
        let read = |path: &Path| fs::read_to_string(path).ok();
        let mut crates = 0;
        for (name, file) in workspaces.iter().flat_map(crates::roots) {
            let modules = Modules::read(&file, &read).with_context(|| format!("crate {name}"))?;
            findings.extend(modules.cycles().iter().map(|cycle| show(&name, cycle, root)));
            crates += 1;
        }
        findings.iter().for_each(|finding| println!("{finding}"));
        ensure!(findings.is_empty(), "the structure is not in order; findings: {}", findings.len());
        println!("{crates} crates and {} files are in order", sources.len());
        Ok(())
    }
}

/// A cycle with the places that make it one.
fn show(name: &str, cycle: &Cycle, root: &Path) -> String {
    let mut text = format!("{name}, {}: {}", cycle.parent, cycle.members.join(" ⇄ "));
    for edge in &cycle.edges {
        for (file, line, path) in edge.uses.iter().take(USES_SHOWN) {
            let file = file.strip_prefix(root).unwrap_or(file).display();
            text += &format!("\n  {} → {}: {file}:{line} uses {path}", edge.from, edge.to);
        }
        if let Some(more @ 1..) = edge.uses.len().checked_sub(USES_SHOWN) {
            text += &format!("\n  {} → {}: and {more} more", edge.from, edge.to);
        }
    }
    text
}
