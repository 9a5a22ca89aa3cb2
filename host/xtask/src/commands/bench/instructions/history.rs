//! The pinned figures: `host/weir/benches/instructions.tsv`, the oldest first, one line for each
//! figure. New figures are compared with the last line of their case; the other lines are its
//! history.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;

/// The path of the file in the workspace.
pub(super) const FILE: &str = "host/weir/benches/instructions.tsv";

const HEADER: &str = "\
# Instructions per answer, counted by `cargo xtask bench instructions`, whose --pin appends lines.
# New figures are compared with the last line of their case. They must be counted with the same
# toolchain, on a processor with AVX2. docs/benchmarks.md says more.
date\tcommit\tcase\tinstructions\ttoolchain\twhy
";

/// All pinned figures.
pub(super) struct History {
    file: PathBuf,
    pins: Vec<Pin>,
}

/// One pinned figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pin {
    pub(super) date: String,
    /// The commit that was measured. `-dirty` at its end means uncommitted changes.
    pub(super) commit: String,
    pub(super) case: String,
    pub(super) instructions: u64,
    pub(super) toolchain: String,
    pub(super) why: String,
}

impl History {
    /// Reads the history, which is empty if there is no file.
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let file = workspace.root.join(FILE);
        let pins = match fs::read_to_string(&file) {
            Ok(text) => parse(&text).with_context(|| format!("reading {}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", file.display()));
            }
        };
        Ok(Self { file, pins })
    }

    /// The figure to compare a case with.
    pub(super) fn last(&self, case: &str) -> Option<&Pin> {
        self.pins.iter().rev().find(|pin| pin.case == case)
    }

    /// Appends lines, and creates the file if it does not exist.
    pub(super) fn append(&mut self, pins: Vec<Pin>) -> Result<()> {
        self.pins.extend(pins);
        fs::write(&self.file, render(&self.pins)?)
            .with_context(|| format!("writing {}", self.file.display()))
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

fn parse(text: &str) -> Result<Vec<Pin>> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.starts_with('#'));
    // The first line names the columns.
    lines
        .skip(1)
        .map(|(line, number)| parse_line(line).with_context(|| format!("line {number}")))
        .collect()
}

fn parse_line(line: &str) -> Result<Pin> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [date, commit, case, instructions, toolchain, why] = columns[..] else {
        bail!("expected six columns separated by tabs, but there are {}", columns.len());
    };
    Ok(Pin {
        date: date.to_owned(),
        commit: commit.to_owned(),
        case: case.to_owned(),
        instructions: instructions
            .parse()
            .with_context(|| format!("{instructions:?} is not a number of instructions"))?,
        toolchain: toolchain.to_owned(),
        why: why.to_owned(),
    })
}

fn render(pins: &[Pin]) -> Result<String> {
    let mut text = HEADER.to_owned();
    for Pin { date, commit, case, instructions, toolchain, why } in pins {
        for column in [date, commit, case, toolchain, why] {
            ensure!(!column.contains(['\t', '\n']), "{column:?} contains a tab or a line break");
        }
        writeln!(text, "{date}\t{commit}\t{case}\t{instructions}\t{toolchain}\t{why}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn pin(case: &str, instructions: u64, why: &str) -> Pin {
        Pin {
            date: "2026-11-25".into(),
            commit: "566ef87".into(),
            case: case.into(),
            instructions,
            toolchain: "rustc 1.95.0, valgrind-3.19.0".into(),
            why: why.into(),
        }
    }

    #[test]
    fn appended_figures_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("host/weir/benches")).unwrap();
        let workspace = Workspace { root: folder.path().to_owned(), target: "/t".into() };
        let mut history = History::read(&workspace).unwrap();
        assert_eq!(history.last("hit"), None);
        history.append(vec![pin("hit", 33_800, "first"), pin("echo", 146_000, "first")]).unwrap();
        history.append(vec![pin("hit", 34_000, "a header more")]).unwrap();
        let history = History::read(&workspace).unwrap();
        assert_eq!(history.last("hit").unwrap().instructions, 34_000);
        assert_eq!(history.last("echo"), Some(&pin("echo", 146_000, "first")));
        assert_eq!(history.pins.len(), 3);
    }

    #[test]
    fn a_bad_line_is_named_in_the_error() {
        let text = format!("{HEADER}2026-11-25\tabc\thit\tmany\tx\ty\n");
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains("line 5") && error.contains("many"), "{error}");
        let error = format!("{:#}", parse("date\na\tb\n").unwrap_err());
        assert!(error.contains("line 2") && error.contains("there are 2"), "{error}");
    }

    #[test]
    fn a_reason_is_one_line() {
        assert!(render(&[pin("hit", 1, "two\nlines")]).is_err());
    }
}
