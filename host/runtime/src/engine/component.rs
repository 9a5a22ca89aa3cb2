//! Components from files: read, compiled, and asked what they import and export. Everything
//! that can be wrong with one is found here or in the loader of its role, and said at once.

use std::path::{Path, PathBuf};

use thiserror::Error;
use wasmtime::component::Component;

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
    /// Not a component: a core module, a text, or damaged.
    #[error("{path} is no WebAssembly component that this host runs: {reason}")]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// wasmtime's reason.
        reason: String,
    },
    /// It does not export what a plugin of this role does.
    #[error("{path} does not have the right world: it exports {exports}, not {needed}")]
    WrongWorld {
        /// The file.
        path: PathBuf,
        /// What it exports.
        exports: String,
        /// What it would have to export.
        needed: &'static str,
    },
    /// It imports what it was not granted, or what nobody offers; all of it at once.
    #[error("{path} cannot be loaded:\n  {}", problems.join("\n  "))]
    Imports {
        /// The file.
        path: PathBuf,
        /// A line for each import.
        problems: Vec<String>,
    },
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

/// Compiles a component from its binary form; text is not taken.
///
/// # Errors
/// It is not one.
pub fn compile(
    engine: &wasmtime::Engine,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    let not_a_component =
        |reason: String| LoadError::NotAComponent { path: path.to_owned(), reason };
    if !wasmtime_is_component(bytes) {
        let reason = "the file does not begin as one (a core module is made one with \
                      `wit-component`; `cargo xtask` does that for the plugins here)";
        return Err(not_a_component(reason.to_owned()));
    }
    Component::from_binary(engine, bytes).map_err(|error| not_a_component(format!("{error:#}")))
}

/// The eight bytes that every component begins with: magic, version 13, layer 1.
fn wasmtime_is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

/// The names of what a component imports, with their versions.
#[must_use]
pub fn import_names(engine: &wasmtime::Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Checks that `component` exports `needed`, whatever else it exports.
///
/// # Errors
/// It does not; the error names what it does export.
pub fn check_export(
    engine: &wasmtime::Engine,
    path: &Path,
    component: &Component,
    needed: &'static str,
) -> Result<(), LoadError> {
    let world = component.component_type();
    let exports: Vec<_> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    if exports.iter().any(|export| interface(export) == needed) {
        return Ok(());
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(LoadError::WrongWorld { path: path.to_owned(), exports, needed })
}

/// An interface's name without its version.
#[must_use]
pub fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}
