//! The crates that a document builds: its blocks with `file=`, grouped by the first folder.

use std::collections::BTreeMap;

use crate::Block;

const MANIFEST: &str = "Cargo.toml";
const CODE: &str = "src/lib.rs";

/// A crate that a document builds.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// The name of its folder, and of the crate.
    pub name: String,
    /// The line of the block that is its code.
    pub line: usize,
    /// The text of each file, by its path in the folder.
    pub files: BTreeMap<String, String>,
}

/// A document does not show everything that a crate needs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IncompletePackage {
    /// A file is not in the folder of a crate.
    #[error("line {line}: file={file} is not a file in a crate, such as handbook/src/lib.rs")]
    NotInFolder {
        /// The line of the block.
        line: usize,
        /// What the attribute says.
        file: String,
    },
    /// Two blocks are the same file.
    #[error("line {line}: {file} was already shown")]
    ShownTwice {
        /// The line of the second block.
        line: usize,
        /// The file.
        file: String,
    },
    /// A crate has no code.
    #[error("no block is {0}/{CODE}")]
    NoCode(String),
    /// The first crate has no manifest.
    #[error("no block is {0}/{MANIFEST}, which a document's first crate needs")]
    NoManifest(String),
}

/// The crates that the blocks of one document build, in order. A crate without a manifest is "like
/// the one before": it takes all files that it does not show from that one, under its own name.
///
/// # Errors
/// A crate lacks code or a manifest, or a file's name is wrong or given twice.
pub fn packages(blocks: &[Block]) -> Result<Vec<Package>, IncompletePackage> {
    let mut packages: Vec<Package> = Vec::new();
    for block in blocks {
        let Some(file) = &block.file else { continue };
        let line = block.line;
        let (name, path) = file
            .split_once('/')
            .ok_or_else(|| IncompletePackage::NotInFolder { line, file: file.clone() })?;
        let known = packages.iter().position(|package| package.name == name);
        let at = known.unwrap_or_else(|| {
            packages.push(Package { name: name.to_owned(), line, files: BTreeMap::new() });
            packages.len() - 1
        });
        let package = &mut packages[at];
        if path == CODE {
            package.line = line;
        }
        if package.files.insert(path.to_owned(), block.text.clone()).is_some() {
            return Err(IncompletePackage::ShownTwice { line, file: file.clone() });
        }
    }
    for at in 0..packages.len() {
        let (before, rest) = packages.split_at_mut(at);
        if let Some(package) = rest.first_mut() {
            complete(package, before.last())?;
        }
    }
    Ok(packages)
}

fn complete(package: &mut Package, before: Option<&Package>) -> Result<(), IncompletePackage> {
    if !package.files.contains_key(CODE) {
        return Err(IncompletePackage::NoCode(package.name.clone()));
    }
    if package.files.contains_key(MANIFEST) {
        return Ok(());
    }
    let before = before.ok_or_else(|| IncompletePackage::NoManifest(package.name.clone()))?;
    for (path, text) in before.files.iter().filter(|(path, _)| *path != CODE) {
        let own = |line: &str| {
            if line == format!("name = \"{}\"", before.name) {
                format!("name = \"{}\"\n", package.name)
            } else {
                format!("{line}\n")
            }
        };
        package.files.entry(path.clone()).or_insert_with(|| text.lines().map(own).collect());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn block(line: usize, file: &str, text: &str) -> Block {
        Block { line, file: Some(file.to_owned()), text: text.to_owned(), ..Block::default() }
    }

    #[test]
    fn a_crate_without_a_manifest_is_like_the_one_before() {
        let blocks = [
            block(1, "a/Cargo.toml", "[package]\nname = \"a\"\nedition = \"2024\"\n"),
            block(4, "a/plugin.toml", "role of a"),
            block(5, "a/src/lib.rs", "one"),
            Block { line: 8, text: "no file".to_owned(), ..Block::default() },
            block(9, "b/src/lib.rs", "two"),
            block(9, "b/plugin.toml", "role of b"),
        ];
        let found = packages(&blocks).unwrap();
        let summary: Vec<_> = found
            .iter()
            .map(|package| (&*package.name, package.line, &*package.files[CODE]))
            .collect();
        assert_eq!(summary, [("a", 5, "one"), ("b", 9, "two")]);
        let manifest = "[package]\nname = \"b\"\nedition = \"2024\"\n";
        assert_eq!(found[1].files[MANIFEST], manifest);
        assert_eq!(found[1].files["plugin.toml"], "role of b");
    }

    #[test]
    fn what_is_missing_is_reported() {
        let cases = [
            (vec![block(2, "lib.rs", "")], "line 2: file=lib.rs is not a file in a crate"),
            (vec![block(2, "a/Cargo.toml", "")], "no block is a/src/lib.rs"),
            (vec![block(2, "a/src/lib.rs", "")], "no block is a/Cargo.toml"),
            (
                vec![block(2, "a/src/lib.rs", ""), block(6, "a/src/lib.rs", "")],
                "line 6: a/src/lib.rs was already shown",
            ),
        ];
        for (blocks, expected) in cases {
            let error = packages(&blocks).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
