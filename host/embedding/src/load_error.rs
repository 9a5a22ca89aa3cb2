//! Why a model cannot be loaded and how to fix it: the messages that an operator reads.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One of the three files that a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// ONNX Runtime's shared library.
    Library,
    /// The model, `model.onnx`.
    Model,
    /// The tokenizer, `tokenizer.json`.
    Tokenizer,
}

impl Part {
    fn key(self) -> &'static str {
        match self {
            Self::Library => "embedding.library",
            Self::Model => "embedding.models.NAME.model",
            Self::Tokenizer => "embedding.models.NAME.tokenizer",
        }
    }

    fn mend(self) -> String {
        format!("`cargo xtask setup` fetches it; or set `{}` in the configuration", self.key())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Library => "ONNX Runtime library",
            Self::Model => "model",
            Self::Tokenizer => "tokenizer",
        })
    }
}

/// Why [`load`](super::onnx::OnnxEmbedder::load) failed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file does not exist.
    #[error("the {part} {} is missing: {}", path.display(), part.mend())]
    Missing {
        /// Which file.
        part: Part,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file exists but cannot be read.
    #[error("the {part} {} cannot be read ({source}): {}", path.display(), part.mend())]
    Unreadable {
        /// Which file.
        part: Part,
        /// Where it is.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file can be read but is not valid.
    #[error("{} is not a usable {part} ({reason}): {}", path.display(), part.mend())]
    Broken {
        /// Which file.
        part: Part,
        /// Where it is.
        path: PathBuf,
        /// The parser's error.
        reason: String,
    },
    /// The file is not the one that the model's name promises.
    #[error(
        "the {part} {} has sha-256 {found}, expected {expected}: delete it and run \
         `cargo xtask setup`, or, to use your own model, set `{}` and choose another NAME",
        path.display(), part.key()
    )]
    WrongDigest {
        /// Which file.
        part: Part,
        /// Where it is.
        path: PathBuf,
        /// Hex sha-256 of the expected file.
        expected: String,
        /// Hex sha-256 of the file.
        found: String,
    },
    /// ONNX Runtime is older than the interface that this program uses.
    #[error(
        "{} is ONNX Runtime {found}, and 1.{needed_minor} or newer is needed: {}",
        path.display(), Part::Library.mend()
    )]
    LibraryTooOld {
        /// Where the library is.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest supported minor version.
        needed_minor: u32,
    },
    /// A process loads ONNX Runtime only once, and this one has loaded it from another file.
    #[error(
        "ONNX Runtime was already loaded from {} and cannot also be loaded from {}: all \
         models of a process use one library, `embedding.library`",
        loaded.display(), asked.display()
    )]
    AnotherLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// The model's inputs or outputs are not those of a text encoder.
    #[error(
        "the model {} {reason}; a text encoder takes `input_ids` and `attention_mask` and returns \
         one vector per token (float, [texts, tokens, dimensions]): {}",
        path.display(), Part::Model.mend()
    )]
    WrongShape {
        /// Where the model is.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The model runs, but its vectors differ from those measured for it.
    #[error(
        "the model gives a wrong vector for a known text (component {component} is {found}, \
         expected {expected}): this build of ONNX Runtime does not work for this machine or \
         this model; {}",
        Part::Library.mend()
    )]
    WrongVector {
        /// Index of the first wrong component.
        component: usize,
        /// Its value.
        found: f32,
        /// The value measured for this model.
        expected: f32,
    },
    /// ONNX Runtime failed in another way.
    #[error("ONNX Runtime failed: {0}")]
    Runtime(String),
    /// The operating system could not start a thread.
    #[error("an embedding thread could not be started: {0}")]
    Thread(std::io::Error),
}
