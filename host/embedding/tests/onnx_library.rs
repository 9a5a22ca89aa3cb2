//! The error for a library that is not ONNX Runtime. It needs its own process, because a
//! process loads the library only once.

#![expect(clippy::expect_used, reason = "a test's failure is its message")]

use std::path::PathBuf;
use std::sync::Arc;

use weir_embedding::load_error::LoadError;
use weir_embedding::onnx::{OnnxConfig, OnnxEmbedder};

fn file(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
        .into()
}

fn load(library: PathBuf) -> Result<(), LoadError> {
    let config = OnnxConfig::new(library, file("WEIR_MODEL"), file("WEIR_TOKENIZER"));
    OnnxEmbedder::load(OnnxConfig { sessions: 1, ..config }, Arc::default()).map(drop)
}

#[test]
fn a_library_that_does_not_load_is_named_and_the_right_one_loads_after_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let junk = folder.path().join("libonnxruntime.so");
    std::fs::write(&junk, "not a library").expect("a file");
    let cases = [
        (folder.path().join("gone.so"), "is missing"),
        (junk, "is not a usable ONNX Runtime library"),
        (folder.path().to_owned(), "is not a usable ONNX Runtime library"),
    ];
    for (library, expected) in cases {
        let named = library.display().to_string();
        let message = load(library).expect_err("no library").to_string();
        for part in [named.as_str(), expected, "cargo xtask setup", "embedding.library"] {
            assert!(message.contains(part), "{part:?} in: {message}");
        }
    }
    load(file("WEIR_ONNXRUNTIME_LIBRARY")).expect("the right library");
}
