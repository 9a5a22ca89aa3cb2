//! Collects the licences of the third-party crates in the shipped binaries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::packages::{Package, Packages};

/// How the names of licence files start, in lower case.
const FILE_STARTS: [&str; 5] = ["copying", "copyright", "licence", "license", "notice"];

/// Lists each shipped third-party crate with its licence, followed by each text once.
pub(super) fn of_crates(
    workspaces: &[Packages],
    is_shipped: &dyn Fn(&Package) -> bool,
) -> Result<String> {
    let mut crates = BTreeMap::new();
    for workspace in workspaces {
        let graph = workspace.graph();
        for member in workspace.members().filter(|member| is_shipped(member)) {
            let built_from = graph.built_from(&member.id).into_iter();
            let third_party = built_from.filter(|package| package.is_from_registry());
            crates.extend(third_party.map(|p| ((p.name.clone(), p.version.clone()), p)));
        }
    }
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::from("The crates that Weir is built from, and their licences.\n\n");
    for ((name, version), package) in &crates {
        let licence = package.license.as_deref().unwrap_or("see below");
        writeln!(list, "{name} {version}: {licence}")?;
        let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
        for file in files(folder)? {
            let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let text = String::from_utf8_lossy(&text).trim().replace("\r\n", "\n");
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    for (text, crates) in texts {
        write!(list, "\n{}\n{}\n\n{text}\n", "=".repeat(80), crates.join(", "))?;
    }
    Ok(list)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && FILE_STARTS.iter().any(|start| name.starts_with(start)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
