//! Finds the files to ingest, gives their documents ids, and reads their content.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use walkdir::WalkDir;
use weir_core::name::DocumentId;

use super::extract::{self, Content};

/// Larger files are skipped, because each file is read into memory as a whole.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Larger text is skipped: this is the default of `ingest.max_text_bytes`.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// A file to ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The id of its document.
    pub(super) id: String,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// Why something was not ingested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    /// The file, and the line if there is one.
    pub(super) what: String,
    /// Why.
    pub(super) reason: String,
}

impl Skipped {
    fn new(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { what: what.to_string(), reason: reason.to_string() }
    }
}

/// The files in `paths`, in order. Folders are walked in sorted order. Hidden files are
/// ignored; links and unknown formats are reported as skipped. A document's id is its path
/// within the folder, or the path that was given for a single file.
pub(super) fn find(paths: &[PathBuf]) -> (Vec<Source>, Vec<Skipped>) {
    let (mut sources, mut skipped) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for path in paths {
        let walk = WalkDir::new(path).sort_by_file_name();
        let is_shown = |entry: &walkdir::DirEntry| entry.depth() == 0 || !is_hidden(entry.path());
        for entry in walk.into_iter().filter_entry(is_shown) {
            let found = match entry {
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) => source(path, &entry),
                Err(error) => Err(Skipped::new(path.display(), error)),
            };
            match found {
                Ok(source) if seen.insert(source.id.clone()) => sources.push(source),
                Ok(source) => {
                    let reason =
                        format!("another file already has the document id '{}'", source.id);
                    skipped.push(Skipped::new(source.path.display(), reason));
                }
                Err(reason) => skipped.push(reason),
            }
        }
    }
    (sources, skipped)
}

fn source(given: &Path, entry: &walkdir::DirEntry) -> Result<Source, Skipped> {
    let path = entry.path();
    let skip = |reason: &dyn fmt::Display| Skipped::new(path.display(), reason);
    let is_given_itself = entry.depth() == 0;
    let metadata = if is_given_itself { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let metadata = metadata.map_err(|error| skip(&error))?;
    if !metadata.is_file() {
        return Err(skip(&"not a file"));
    }
    if !is_given_itself && Format::of(path).is_none() {
        return Err(skip(&"its extension is not one of Markdown, HTML, text or NDJSON"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(skip(&format_args!("larger than {MAX_FILE_BYTES} bytes")));
    }
    let below = if is_given_itself { given } else { path.strip_prefix(given).unwrap_or(path) };
    let id = id(below).ok_or_else(|| skip(&"its path is not UTF-8"))?;
    Ok(Source { path: path.to_owned(), id, bytes: metadata.len() })
}

/// A path as an id, from its plain components only: `./a/b.md` becomes `a/b.md`.
fn id(path: &Path) -> Option<String> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_str()),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Markdown,
    Html,
    Text,
    Ndjson,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "txt" | "text" => Some(Self::Text),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// The documents of `source`, each as one line of NDJSON, and the parts that are skipped.
pub(super) fn read(source: &Source) -> (Vec<String>, Vec<Skipped>) {
    let shown = source.path.display();
    let text = fs::read(&source.path)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8")));
    let text = match text {
        Ok(text) => text,
        Err(error) => return (Vec::new(), vec![Skipped::new(shown, error)]),
    };
    let content = match Format::of(&source.path).unwrap_or(Format::Text) {
        Format::Ndjson => return lines(source, &text),
        Format::Markdown => extract::markdown(&text),
        Format::Html => extract::html(&text),
        Format::Text => Content { title: None, text },
    };
    match document(source, &content) {
        Ok(document) => (vec![document], Vec::new()),
        Err(reason) => (Vec::new(), vec![Skipped::new(shown, reason)]),
    }
}

fn document(source: &Source, content: &Content) -> Result<String, String> {
    check(&source.id, &content.text)?;
    if content.text.trim().is_empty() {
        return Err("it has no text".to_owned());
    }
    let title = content.title.as_deref().or_else(|| source.path.file_stem()?.to_str());
    let metadata = json!({ "title": title, "path": source.id });
    Ok(json!({ "id": source.id, "text": content.text, "metadata": metadata }).to_string())
}

/// Checks for what would make the server refuse the whole request.
fn check(id: &str, text: &str) -> Result<(), String> {
    DocumentId::new(id).map_err(|error| error.to_string())?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("its text is larger than {MAX_TEXT_BYTES} bytes"));
    }
    if text.contains('\0') {
        return Err("its text contains the character U+0000".to_owned());
    }
    Ok(())
}

/// Lines that are valid documents are passed on unchanged.
fn lines(source: &Source, text: &str) -> (Vec<String>, Vec<Skipped>) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given<'a> {
        id: String,
        text: String,
        #[serde(borrow, default, rename = "metadata")]
        _metadata: Option<&'a RawValue>,
    }
    let (mut documents, mut skipped) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let checked = serde_json::from_str::<Given<'_>>(line)
            .map_err(|error| error.to_string())
            .and_then(|given| check(&given.id, &given.text));
        match checked {
            Ok(()) => documents.push(line.to_owned()),
            Err(reason) => {
                let what = format!("{}:{}", source.path.display(), index + 1);
                skipped.push(Skipped::new(what, reason));
            }
        }
    }
    (documents, skipped)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_walked_in_order_and_other_formats_are_skipped() {
        let folder = folder(&[
            ("b.md", "b"),
            ("a/z.html", "z"),
            ("a/b.txt", "b"),
            (".git/x.md", "x"),
            ("a/i.png", "i"),
        ]);
        let (sources, skipped) = find(&[folder.path().to_owned()]);
        let ids: Vec<_> = sources.iter().map(|source| source.id.as_str()).collect();
        assert_eq!(ids, ["a/b.txt", "a/z.html", "b.md"]);
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].what.ends_with("i.png"));
    }

    #[test]
    fn a_document_is_found_once() {
        let folder = folder(&[("one/a.md", "1"), ("two/a.md", "2")]);
        let paths = ["one", "two", "gone"].map(|name| folder.path().join(name));
        let (sources, skipped) = find(&paths);
        assert_eq!(sources.len(), 1);
        assert_eq!(skipped.len(), 2);
        assert_eq!(skipped[0].reason, "another file already has the document id 'a.md'");
    }

    #[test]
    fn given_files_have_their_path_as_id() {
        for (given, expected) in
            [("a/b.md", "a/b.md"), ("./a.md", "a.md"), ("/x/a.md", "x/a.md"), ("../a.md", "a.md")]
        {
            assert_eq!(id(Path::new(given)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn files_become_documents() {
        let folder = folder(&[
            ("a.md", "# Title\n\ntext"),
            ("b.txt", "plain"),
            ("c.txt", " \n"),
            (
                "d.ndjson",
                "{\"id\":\"x\",\"text\":\"t\"}\n\n{\"id\":\"y\"}\n{\"id\":\"\",\"text\":\"t\"}",
            ),
        ]);
        let (sources, _) = find(&[folder.path().to_owned()]);
        let read: Vec<_> = sources.iter().map(read).collect();
        assert_eq!(
            read[0].0,
            [
                r##"{"id":"a.md","metadata":{"path":"a.md","title":"Title"},"text":"Title\n\ntext"}"##
            ]
        );
        assert_eq!(
            read[1].0,
            [r#"{"id":"b.txt","metadata":{"path":"b.txt","title":"b"},"text":"plain"}"#]
        );
        assert_eq!(read[2].1[0].reason, "it has no text");
        assert_eq!(read[3].0, [r#"{"id":"x","text":"t"}"#]);
        let lines: Vec<_> = read[3].1.iter().map(|skipped| &skipped.what).collect();
        assert!(lines[0].ends_with("d.ndjson:3") && lines[1].ends_with("d.ndjson:4"), "{lines:?}");
    }
}
