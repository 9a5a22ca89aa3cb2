//! A new crate of a plugin: its files, and writing them. It is a small plugin that works, with the SDK next to
//! it, and depends on nothing outside its folder but crates.io.
//!
//! Out of scope: compiling it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_core::name::Name;

use crate::sdk;

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// It answers requests.
    Pipeline,
    /// It decides what is cached.
    Policy,
}

/// Where the SDK is in the crate.
const SDK: &str = "vendor/weir-sdk";

/// The keywords of Rust, and the crates that every Rust has: names that a crate cannot have.
const NOT_FOR_CRATES: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// A crate cannot be made.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// It is a name of a plugin, but not of a crate.
    #[error(
        "'{name}' cannot be the name of a crate: {why}. Take another: whatever it is called, a plugin can be \
         deployed as '{name}'"
    )]
    Name {
        /// The name.
        name: Name,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is something already.
    #[error("{} exists and is not an empty folder: nothing was written. Choose another with --path", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes a new crate into a folder, which must not exist or be empty. Either all of it is written, or nothing.
///
/// # Errors
/// The name is not one of a crate, the folder is in use, or it cannot be written.
pub fn create(folder: &Path, name: &Name, role: Role) -> Result<(), TemplateError> {
    let files = files(name, role)?;
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| TemplateError::Unwritable { path, source }
    };
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => fs::symlink_metadata(folder).is_err(),
    };
    if !is_free {
        return Err(TemplateError::Exists(folder.to_owned()));
    }
    // Written next to it and then renamed, which fails if there is anything by then.
    let unfinished = beside(folder);
    let written = write(&unfinished, &files).and_then(|()| {
        fs::rename(&unfinished, folder).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                TemplateError::Exists(folder.to_owned())
            }
            _ => unwritable(folder)(error),
        })
    });
    if written.is_err() {
        // What is left of it is of no use. That there is an error is what matters.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

fn beside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).join(format!(".{name}.unfinished.{}", std::process::id()))
}

fn write(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), TemplateError> {
    for (name, text) in files {
        let path = folder.join(name);
        let create = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(&path)?.write_all(text.as_bytes())
        };
        create().map_err(|source| TemplateError::Unwritable { path: path.clone(), source })?;
    }
    Ok(())
}

/// The files of a new crate, by their paths in its folder.
fn files(name: &Name, role: Role) -> Result<BTreeMap<String, String>, TemplateError> {
    if let Some(why) = unsuitable(name.as_str()) {
        return Err(TemplateError::Name { name: name.clone(), why });
    }
    let (manifest, code, readme) = match role {
        Role::Pipeline => (
            include_str!("../template/pipeline/plugin.toml"),
            include_str!("../template/pipeline/lib.rs"),
            include_str!("../template/pipeline/README.md"),
        ),
        Role::Policy => (
            include_str!("../template/policy/plugin.toml"),
            include_str!("../template/policy/lib.rs"),
            include_str!("../template/policy/README.md"),
        ),
    };
    let ours = [
        ("Cargo.toml", include_str!("../template/Cargo.toml")),
        ("plugin.toml", manifest),
        ("src/lib.rs", code),
        ("README.md", readme),
        (".gitignore", include_str!("../template/gitignore")),
        (".cargo/config.toml", include_str!("../template/config.toml")),
    ];
    let filled =
        |text: &str| text.replace("{{name}}", name.as_str()).replace("{{wit}}", sdk::WIT_VERSION);
    let mut files: BTreeMap<_, _> =
        ours.into_iter().map(|(path, text)| (path.to_owned(), filled(text))).collect();
    for (path, text) in sdk::FILES {
        let stamp = if *path == "Cargo.toml" { sdk::stamp() } else { String::new() };
        files.insert(format!("{SDK}/{path}"), stamp + text);
    }
    files.insert("Cargo.lock".to_owned(), lock(name.as_str()));
    Ok(files)
}

/// Why a plugin's name is not that of a crate.
fn unsuitable(name: &str) -> Option<&'static str> {
    let as_code = name.replace('-', "_");
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Some("it does not begin with a letter")
    } else if name.contains('.') {
        Some("it has a '.'")
    } else if NOT_FOR_CRATES.contains(&as_code.as_str()) {
        Some("Rust uses it")
    } else if packages().any(|package| named(package).replace('-', "_") == as_code) {
        Some("the SDK depends on a crate of this name")
    } else {
        None
    }
}

/// The SDK and its dependencies, as `Cargo.lock` has them. It is made for plugins of this repository, too.
fn packages() -> impl Iterator<Item = &'static str> {
    sdk::LOCK
        .split("\n\n")
        .filter(|block| block.starts_with("[[package]]"))
        .filter(|block| block.contains("\nsource = ") || named(block) == "weir-sdk")
}

fn named(package: &str) -> &str {
    package.split('"').nth(1).unwrap_or_default()
}

/// The versions that Weir is tested with. So the first build needs no choice, and the same crate is compiled
/// everywhere.
fn lock(name: &str) -> String {
    let own = format!(
        "[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"weir-sdk\",\n]"
    );
    let mut all: Vec<_> = packages().map(str::trim_end).collect();
    all.push(&own);
    all.sort_by_key(|package| named(package));
    let head = sdk::LOCK.split("\n\n").next().unwrap_or_default();
    format!("{head}\n\n{}\n", all.join("\n\n"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn names_that_a_crate_cannot_have_are_refused_with_a_reason() {
        for (text, why) in [
            ("0a", "begin with a letter"),
            ("a.b", "'.'"),
            ("fn", "Rust"),
            ("proc-macro", "Rust"),
            ("test", "Rust"),
            ("serde", "depends on"),
            ("serde-json", "depends on"),
            ("weir-sdk", "depends on"),
        ] {
            let error = files(&name(text), Role::Pipeline).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("'{text}'")), "{error}");
        }
        for text in ["a", "hello-2", "my_plugin", "echo", "search"] {
            assert!(files(&name(text), Role::Policy).is_ok(), "{text}");
        }
    }

    #[test]
    fn every_place_of_a_template_is_filled() {
        for role in [Role::Pipeline, Role::Policy] {
            let files = files(&name("hello"), role).unwrap();
            for (path, text) in files.iter().filter(|(path, _)| !path.starts_with(SDK)) {
                assert!(!text.contains("{{"), "{path}: {text}");
            }
            let manifest = &files["plugin.toml"];
            assert!(manifest.contains("name = \"hello\"\n"), "{manifest}");
            assert!(manifest.contains(&format!("wit = \"{}\"\n", sdk::WIT_VERSION)), "{manifest}");
            assert!(files[&format!("{SDK}/Cargo.toml")].contains(env!("CARGO_PKG_VERSION")));
        }
    }

    #[test]
    fn the_lock_has_the_crate_and_what_the_sdk_needs_in_order() {
        let lock = lock("hello");
        let names: Vec<_> =
            lock.split("\n\n").skip(1).map(|block| named(block).to_owned()).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in ["hello", "weir-sdk", "wit-bindgen", "dlmalloc"] {
            assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
        }
        for name in ["echo", "search", "policy-default"] {
            assert!(!names.iter().any(|other| other == name), "{name}: {names:?}");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_left_half_written() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("hello");
        fs::create_dir(&folder).unwrap();
        create(&folder, &name("hello"), Role::Pipeline).unwrap();
        fs::write(folder.join("src/lib.rs"), "mine").unwrap();
        let error = create(&folder, &name("hello"), Role::Policy).unwrap_err();
        assert!(matches!(error, TemplateError::Exists(_)), "{error}");
        assert_eq!(fs::read_to_string(folder.join("src/lib.rs")).unwrap(), "mine");
        let file = parent.path().join("file");
        fs::write(&file, "mine").unwrap();
        let error = create(&file, &name("hello"), Role::Policy).unwrap_err();
        assert!(matches!(error, TemplateError::Exists(_)), "{error}");
        let error = create(&file.join("below"), &name("hello"), Role::Policy).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
        let mut left: Vec<_> =
            fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "hello"]);
    }
}
