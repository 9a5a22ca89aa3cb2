//! The sections that belong to the program itself: the data folder and the models.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use weir_core::pattern::Scope;
use weir_runtime::capability::grants::Grants;
use weir_runtime::capability::{collections, embedding};
use weir_runtime::pipeline::config::Pipeline;
use weir_runtime::pipeline::cors::Cors;

const MIB_U64: u64 = 1 << 20;

/// `[data]`: where data is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The folder, which no other server may use. Created if it does not exist.
    pub folder: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { folder: PathBuf::from("data") }
    }
}

/// `[plugins]`: what is deployed under names that the configuration does not have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// What such pipelines may access.
    pub grants: Grants,
    /// Which web pages may call them. Without it, none of another origin.
    pub cors: Option<Cors>,
}

impl Default for Plugins {
    fn default() -> Self {
        let collections = collections::Grant { read: Scope::all(), write: Scope::default() };
        let grants = Grants {
            embedding: Some(embedding::Grant::default()),
            collections: Some(collections),
            logging: true,
            settings: true,
        };
        Self { grants, cors: None }
    }
}

impl Plugins {
    /// What such pipelines are allowed.
    #[must_use]
    pub fn others(&self) -> Pipeline {
        Pipeline { grants: self.grants.clone(), ..Pipeline::default() }
    }
}

/// `[embedding]`: the models, and ONNX Runtime, which runs them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model that indexes collections, and that is used when no other is named. It may be
    /// omitted if there is only one model.
    pub default_model: Option<String>,
    /// Whether tenants share the cached vectors of texts. Then the time of an answer tells a tenant
    /// whether another has embedded the same text.
    pub share_cache: bool,
    /// Models by the names that requests and pipelines use.
    pub models: BTreeMap<String, Model>,
}

impl Default for Embedding {
    fn default() -> Self {
        Self {
            library: PathBuf::from("libonnxruntime.so"),
            default_model: None,
            share_cache: false,
            models: BTreeMap::new(),
        }
    }
}

impl Embedding {
    /// The name of the default model; `None` if it is ambiguous or there are no models.
    #[must_use]
    pub fn default_model(&self) -> Option<&str> {
        match &self.default_model {
            Some(name) => Some(name),
            None if self.models.len() == 1 => self.models.keys().next().map(String::as_str),
            None => None,
        }
    }
}

/// `[embedding.models.NAME]`: a model, and how much work it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// The model's file.
    pub model: PathBuf,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// Sessions of one thread each; 0 means one per core.
    pub sessions: usize,
    /// The most tokens in one batch, including padding.
    pub max_batch_tokens: usize,
    /// The most texts that wait in each lane. Further ones are refused, and the catch-up waits.
    pub max_queued_texts: usize,
    /// Memory in bytes for cached vectors of texts.
    pub cache_bytes: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            model: PathBuf::from("model.onnx"),
            tokenizer: PathBuf::from("tokenizer.json"),
            sessions: 0,
            max_batch_tokens: 128,
            max_queued_texts: 1_024,
            cache_bytes: 64 * MIB_U64,
        }
    }
}
