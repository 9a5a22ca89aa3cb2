//! Checks the style of source files: where they are, how they begin, and how long they are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

/// Files should stay under about 400 lines; this is the limit.
const MAX_LINES: usize = 450;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// The folders with sources, below the root of the repository.
const FOLDERS: [&str; 3] = ["host", "plugins", "tests"];

/// A Rust file.
pub(super) struct Source {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Reads all Rust sources of the repository, sorted by path within each folder.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        let is_ours = |entry: &walkdir::DirEntry| {
            let name = entry.file_name().to_string_lossy();
            !name.starts_with('.') && name != "target"
        };
        let entries = WalkDir::new(root.join(folder)).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_ours) {
            let path = entry?.into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                sources.push(Source { path: path.strip_prefix(root)?.to_owned(), text });
            }
        }
    }
    Ok(sources)
}

/// Finds violations in these files, one line each.
pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for Source { path, text } in sources {
        let shown = path.display();
        if !text.starts_with("//!") {
            findings.push(format!(
                "{shown}:1 does not open with a `//!` line that says what it is for"
            ));
        }
        let folder = path.with_extension("");
        if sources.iter().any(|other| other.path.starts_with(&folder)) {
            let inside = folder.join("mod.rs");
            findings
                .push(format!("{shown} has a folder next to it: move it to {}", inside.display()));
        }
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[path") {
                findings.push(format!(
                    "{shown}:{} uses #[path]: put the file where its module is",
                    number + 1
                ));
            }
        }
        let lines = text.lines().count();
        let is_listed = LONGER.iter().any(|(listed, _)| path == Path::new(listed));
        if lines > MAX_LINES && !is_listed {
            findings.push(format!("{shown} has {lines} lines, more than {MAX_LINES}: split it"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn each_rule_reports_only_what_breaks_it() {
        let long = |lines| format!("//!{}", "\n".repeat(lines));
        for (sources, expected) in [
            (vec![source("a/mod.rs", "//! A."), source("a/b.rs", "//! B.")], None),
            (vec![source("a.rs", "// A.")], Some("a.rs:1 does not open")),
            (vec![source("a.rs", "")], Some("a.rs:1 does not open")),
            (
                vec![source("s/a.rs", "//! A."), source("s/a/b.rs", "//! B.")],
                Some("s/a.rs has a folder next to it: move it to s/a/mod.rs"),
            ),
            (vec![source("s/a.rs", "//! A."), source("s/ab/b.rs", "//! B.")], None),
            (
                vec![source("a.rs", "//! A.\n    #[path = \"x.rs\"]\nmod b;")],
                Some("a.rs:2 uses #[path]"),
            ),
            (vec![source("a.rs", &long(MAX_LINES))], None),
            (vec![source("a.rs", &long(MAX_LINES + 1))], Some("a.rs has 451 lines")),
        ] {
            let found = findings(&sources);
            let paths: Vec<_> = sources.iter().map(|source| &source.path).collect();
            match expected {
                None => assert!(found.is_empty(), "{paths:?}: {found:?}"),
                Some(start) => {
                    assert_eq!(found.len(), 1, "{paths:?}: {found:?}");
                    assert!(found[0].starts_with(start), "{paths:?}: {found:?}");
                }
            }
        }
    }
}
