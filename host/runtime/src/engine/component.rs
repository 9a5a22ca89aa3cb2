//! Reads components from files, compiles them, lists their imports and checks their exports. The
//! problems of a component are found when it is loaded, here or in the loader of its role.

use std::path::{Path, PathBuf};

use thiserror::Error;
use wasmtime::component::Component;

use super::size::{Shape, Size};

/// The version of every package of the WIT.
pub const WIT_VERSION: &str = "0.2.0";

/// The packages of the WIT.
const PACKAGES: [&str; 6] = [
    "weir:pipeline",
    "weir:embedding",
    "weir:vector",
    "weir:documents",
    "weir:observe",
    "weir:policy",
];

/// Why a component cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// The file is larger than a component may be.
    #[error("{path} has {bytes} bytes; engine.max_component_bytes is {max_bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The file is not a component: it is a core module or text, or it is damaged.
    #[error("{path} is not a WebAssembly component that this host can run: {reason}")]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// wasmtime's reason.
        reason: String,
    },
    /// It needs more than its guests have.
    #[error("{path} needs more than its guests have: {reason}{advice}")]
    NeedsMore {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
        /// How to give it more, if that is possible.
        advice: &'static str,
    },
    /// It is large, and no large guests are allowed.
    #[error(
        "it has size = \"large\", but no large guests are allowed: set \
         engine.large.max_concurrent_guests to allow some"
    )]
    NoLargeGuests,
    /// It does not export what a plugin of its role must export.
    #[error("{path} does not have the right world: it exports {exports}, not {needed}")]
    WrongWorld {
        /// The file.
        path: PathBuf,
        /// What it exports.
        exports: String,
        /// What it must export.
        needed: &'static str,
    },
    /// It is built for another version of the WIT.
    #[error(
        "{path} is built for {package}@{version}; this host speaks {WIT_VERSION}. \
         Rebuild it for {WIT_VERSION} (in Rust, with weir-sdk {WIT_VERSION})"
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The package that it imports from or exports.
        package: String,
        /// The version that it was built for.
        version: String,
    },
    /// It exports both handlers, the asynchronous and the plain one.
    #[error("{path} exports both {one} and {other}; a pipeline must export only one of them")]
    TwoHandlers {
        /// The file.
        path: PathBuf,
        /// One handler.
        one: &'static str,
        /// The other handler.
        other: &'static str,
    },
    /// It imports interfaces that it is not granted or that the host does not offer.
    #[error("{path} cannot be loaded:\n  {}", problems.join("\n  "))]
    Imports {
        /// The file.
        path: PathBuf,
        /// One line for each such import.
        problems: Vec<String>,
    },
}

impl LoadError {
    /// The error, with how to give a pipeline of this size what it lacks.
    #[must_use]
    pub fn with_advice(self, size: Size) -> Self {
        match self {
            Self::NeedsMore { path, reason, .. } => {
                let advice = match size {
                    Size::Small => {
                        ". Set size = \"large\" for the pipeline, which engine.large must allow"
                    }
                    Size::Large => "",
                };
                Self::NeedsMore { path, reason, advice }
            }
            other => other,
        }
    }
}

/// Reads a component's file, up to `max_bytes`.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read_component(path: &Path, max_bytes: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > max_bytes {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes, max_bytes });
    }
    std::fs::read(path).map_err(unreadable)
}

/// Compiles a component from its binary form. The text format is not accepted.
///
/// # Errors
/// `bytes` is not a component, not one that this host can run, or one that needs more than the
/// engine's pool has for a guest.
pub fn compile(
    engine: &wasmtime::Engine,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    check_header(path, bytes)?;
    Component::from_binary(engine, bytes).map_err(|error| refused(path, format!("{error:#}")))
}

/// Checks that `bytes` starts as a component does, which costs nothing.
///
/// # Errors
/// It is something else.
pub(super) fn check_header(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    if wasmtime_is_component(bytes) {
        return Ok(());
    }
    let reason = "the file does not start with the header of a component (`wit-component` \
                  converts core modules; `cargo xtask` does so for Weir's own plugins)";
    Err(LoadError::NotAComponent { path: path.to_owned(), reason: reason.to_owned() })
}

/// Why wasmtime has refused to compile a component, or to load its code.
pub(super) fn refused(path: &Path, reason: String) -> LoadError {
    let path = path.to_owned();
    if exceeds_pool(&reason) {
        LoadError::NeedsMore { path, reason, advice: "" }
    } else {
        LoadError::NotAComponent { path, reason }
    }
}

/// Whether wasmtime has refused a component because its guests would not fit a place of the pool.
pub(super) fn exceeds_pool(reason: &str) -> bool {
    EXCEEDS.iter().any(|exceeds| reason.contains(exceeds))
}

/// What wasmtime says of a component that does not fit a pool. It has no type for that.
const EXCEEDS: [&str; 3] =
    ["exceeds the configured maximum", "exceeds the limit of", "exceeds the per-instance limit"];

/// Checks that the guests of a component have what it needs from the start, with this much memory.
/// A pool has checked some of it, but there may be none, and a pipeline may have less memory.
///
/// # Errors
/// It needs more.
pub fn check_needs(
    path: &Path,
    component: &Component,
    shape: &Shape,
    max_memory_bytes: usize,
) -> Result<(), LoadError> {
    // A component that imports modules has no needs of its own; the linker refuses it.
    let needed = component.resources_required();
    match needed.and_then(|needed| shape.lacks(&needed, max_memory_bytes)) {
        Some(reason) => Err(LoadError::NeedsMore { path: path.to_owned(), reason, advice: "" }),
        None => Ok(()),
    }
}

/// Whether `bytes` starts with the header of a component: magic, version 13, layer 1.
fn wasmtime_is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

/// The names of what a component imports, with their versions.
#[must_use]
pub fn import_names(engine: &wasmtime::Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Checks that `component` is built for the host's version of the WIT and exports exactly one of
/// `needed`, and returns which one. Other exports are ignored.
///
/// # Errors
/// It is built for another version, or it exports none or several of `needed`.
pub fn check_export(
    engine: &wasmtime::Engine,
    path: &Path,
    component: &Component,
    needed: &[&'static str],
) -> Result<&'static str, LoadError> {
    let world = component.component_type();
    let exports: Vec<_> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let imports = world.imports(engine).map(|(name, _)| name);
    check_version(path, exports.iter().map(String::as_str).chain(imports))?;
    let exported = |needed: &&&str| exports.iter().any(|export| interface(export) == **needed);
    let mut found = needed.iter().filter(exported);
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (Some(one), Some(other)) => {
            Err(LoadError::TwoHandlers { path: path.to_owned(), one, other })
        }
        (None, _) => Err(LoadError::WrongWorld {
            path: path.to_owned(),
            exports: if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") },
            needed: needed[0],
        }),
    }
}

/// Checks that every name from a package of the WIT has the host's version. Callers check the
/// names from other packages.
fn check_version<'a>(path: &Path, names: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
    for name in names {
        let package = name.split_once('/').map_or(name, |(package, _)| package);
        let version = name.split_once('@').map_or("", |(_, version)| version);
        if PACKAGES.contains(&package) && version != WIT_VERSION {
            let (path, version) = (path.to_owned(), version.to_owned());
            return Err(LoadError::OtherVersion { path, package: package.to_owned(), version });
        }
    }
    Ok(())
}

/// An interface's name without its version.
#[must_use]
pub fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}
