//! `cargo xtask structure`: checks that crates and modules depend on each other in one direction.
//!
//! `crates` checks what cargo resolves, `modules` checks the paths in the code, and `files` checks
//! the files themselves. Nothing is compiled.

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

/// The target that Weir is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How many uses are shown for each edge of a cycle.
const USES_SHOWN: usize = 3;

/// Check the dependencies between crates and modules, and the layout of files
///
/// Crates are in an order: each may depend only on lower ones, and some must not depend on
/// certain packages at all. Sibling modules, inline ones included, must not depend on each other
/// in a cycle; paths are resolved through renames, globs, re-exports and in macros. Every file
/// must open with `//!` and must not be too long, and the file of a module that has a folder must
/// be `mod.rs` in that folder.
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
        ensure!(
            findings.is_empty(),
            "the structure breaks the rules; violations: {}",
            findings.len()
        );
        println!("{crates} crates and {} files checked, no violations", sources.len());
        Ok(())
    }
}

/// Describes a cycle, with the places in the code that cause it.
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
