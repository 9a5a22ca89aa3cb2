//! The files that `cargo xtask test` builds and fetches, from the variables that it sets.

use std::env;
use std::path::PathBuf;

/// The server's binary.
pub(crate) fn binary() -> PathBuf {
    file("WEIR_BINARY")
}

/// A build of the server that has the fault which its environment names.
pub(super) fn faulty_binary() -> PathBuf {
    needed("WEIR_FAULTY_BINARY", "cargo xtask soak faults")
}

/// The folder of components: `plugins/`, `guests/` and `outside/`.
pub(crate) fn components() -> PathBuf {
    file("WEIR_COMPONENTS")
}

/// ONNX Runtime's shared library.
pub(super) fn library() -> PathBuf {
    file("WEIR_ONNXRUNTIME_LIBRARY")
}

/// The model.
pub(crate) fn model() -> PathBuf {
    file("WEIR_MODEL")
}

/// The model's tokenizer.
pub(crate) fn tokenizer() -> PathBuf {
    file("WEIR_TOKENIZER")
}

fn file(variable: &str) -> PathBuf {
    needed(variable, "cargo xtask test")
}

/// The file that a variable names, which `command` sets.
fn needed(variable: &str, command: &str) -> PathBuf {
    let path = env::var_os(variable).map(PathBuf::from);
    let path = path.unwrap_or_else(|| panic!("{variable} is not set: run `{command}`"));
    path.canonicalize()
        .unwrap_or_else(|error| panic!("{variable} = {}: {error}; run `{command}`", path.display()))
}
