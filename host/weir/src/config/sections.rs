//! The sections that belong to the program itself: where data is, and the models.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

const MIB_U64: u64 = 1 << 20;

/// `[data]`: where data is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// One server's own folder; made when it is not there.
    pub folder: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { folder: PathBuf::from("data") }
    }
}

/// `[embedding]`: the models, and ONNX Runtime, which runs them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model that is used where no other is asked for, and that collections are indexed
    /// by. Without it, the only model there is.
    pub default_model: Option<String>,
    /// Models by the names that requests and pipelines call them.
    pub models: BTreeMap<String, Model>,
}

impl Default for Embedding {
    fn default() -> Self {
        Self {
            library: PathBuf::from("libonnxruntime.so"),
            default_model: None,
            models: BTreeMap::new(),
        }
    }
}

impl Embedding {
    /// The name of the default model; `None` where it is not clear which one that is.
    #[must_use]
    pub fn default_model(&self) -> Option<&str> {
        match &self.default_model {
            Some(name) => Some(name),
            None if self.models.len() == 1 => self.models.keys().next().map(String::as_str),
            None => None,
        }
    }
}

/// `[embedding.models.NAME]`: a model, and how much work it takes on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// The model's file.
    pub model: PathBuf,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// Sessions, one thread each; 0 is one a core.
    pub sessions: usize,
    /// Tokens in one batch, padding included.
    pub max_batch_tokens: usize,
    /// Texts that wait; further ones are refused.
    pub max_queued_texts: usize,
    /// Memory for vectors of texts embedded before.
    pub cache_bytes: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            model: PathBuf::from("model.onnx"),
            tokenizer: PathBuf::from("tokenizer.json"),
            sessions: 0,
            max_batch_tokens: 512,
            max_queued_texts: 1_024,
            cache_bytes: 64 * MIB_U64,
        }
    }
}
