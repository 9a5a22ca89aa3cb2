//! Finds what the demo searches: the Rust book if rustup has installed it, otherwise this project's
//! documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::process;

/// Documents on disk, and questions that the documents answer.
pub(crate) struct Corpus {
    pub(crate) title: &'static str,
    /// The collection's name.
    pub(crate) collection: &'static str,
    pub(crate) folder: PathBuf,
    /// Relative to the folder, sorted.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) questions: [&'static str; 3],
}

impl Corpus {
    /// Finds the Rust book, or uses the project's documentation if it is not installed.
    pub(crate) fn find(project: &Path) -> Result<Self> {
        match rust_book() {
            Ok(book) => Ok(book),
            Err(error) => {
                eprintln!(
                    "the Rust book is not installed ({error:#}): using the project's documentation"
                );
                project_documentation(project)
            }
        }
    }

    /// A digest of the files' names and contents.
    pub(crate) fn digest(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for file in &self.files {
            let content = fs::read(self.folder.join(file))
                .with_context(|| format!("reading {}", file.display()))?;
            hasher.update(file.as_os_str().as_encoded_bytes());
            hasher.update((content.len() as u64).to_le_bytes());
            hasher.update(content);
        }
        Ok(hex::encode(hasher.finalize()))
    }
}

fn rust_book() -> Result<Corpus> {
    let sysroot = process::output(Command::new("rustc").arg("--print=sysroot"))?;
    let folder = Path::new(sysroot.trim()).join("share/doc/rust/html/book");
    let contents = folder.join("toc.html");
    let contents =
        fs::read_to_string(&contents).with_context(|| format!("reading {}", contents.display()))?;
    let files = chapters(&contents);
    ensure!(!files.is_empty(), "{} lists no chapters", folder.display());
    Ok(Corpus {
        title: "The Rust Programming Language",
        collection: "rust-book",
        folder,
        files,
        questions: [
            "How does Rust free memory without a garbage collector?",
            "What is the difference between String and a string slice?",
            "How do threads send messages to each other?",
        ],
    })
}

/// The pages that the table of contents links to. The folder also contains the whole book on one
/// page, and a page for each former name of a chapter.
fn chapters(contents: &str) -> Vec<PathBuf> {
    let links = contents.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut pages: Vec<PathBuf> = links
        .filter(|link| link.ends_with(".html") && !link.contains('/'))
        .map(PathBuf::from)
        .collect();
    pages.sort();
    pages.dedup();
    pages
}

fn project_documentation(project: &Path) -> Result<Corpus> {
    let files: Vec<PathBuf> = ["README.md", "host/ARCHITECTURE.md"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|file| project.join(file).is_file())
        .collect();
    ensure!(!files.is_empty(), "{} has no documentation", project.display());
    Ok(Corpus {
        title: "The documentation of Weir",
        collection: "weir-documentation",
        folder: project.to_owned(),
        files,
        questions: [
            "How is a cached answer invalidated when a document changes?",
            "What can a plugin reach on the host?",
            "How are the tests run?",
        ],
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn chapters_are_the_pages_that_the_contents_link_to() {
        let contents = r#"<link href="css/general.css"><a href="title-page.html">x</a>
            <a href="ch01-01-installation.html">y</a><a href="ch01-01-installation.html">y</a>
            <a href="ch01-01-installation.html#linux">z</a><a href="https://a.org/b.html">"#;
        let expected = ["ch01-01-installation.html", "title-page.html"].map(PathBuf::from);
        assert_eq!(chapters(contents), expected);
    }

    #[test]
    fn the_digest_depends_on_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README.md"), "one").unwrap();
        let digest = || project_documentation(folder.path()).unwrap().digest().unwrap();
        let first = digest();
        assert_eq!(digest(), first);
        fs::write(folder.path().join("README.md"), "two").unwrap();
        assert_ne!(digest(), first);
    }
}
