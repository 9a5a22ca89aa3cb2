//! Texts to vectors: the trait that the rest of the host sees, and its one implementation.
//!
//! [`onnx`] runs the model; [`chunks`] cuts a text so that each piece fits the model's
//! window. Left out: what a guest may embed (`capability`), and where vectors are searched.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

pub mod chunks;
pub mod onnx;

/// A unit-length vector, shared, never copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(pub Arc<[f32]>);

/// Who waits for a text's vector: the interactive lane is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A client waits; refused at once with [`EmbedError::Overloaded`] when the queue is full.
    Interactive,
    /// The catch-up of documents; waits for room. Not kept in the memory tier.
    Bulk,
}

/// Why a text has no vector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmbedError {
    /// A text has more tokens than the model's window.
    #[error("the text has {tokens} tokens, and the model takes {max_tokens}")]
    TooLong {
        /// Tokens of the text, with the model's own special tokens.
        tokens: usize,
        /// The model's window.
        max_tokens: usize,
    },
    /// The queue is full.
    #[error("the embedding queue is full")]
    Overloaded,
    /// The model failed; the text says how.
    #[error("the model failed: {0}")]
    Failed(String),
}

/// A model in service.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// The name that requests call the model by.
    fn model(&self) -> &str;

    /// Hex sha-256 over the model's and the tokenizer's files: part of every key.
    fn model_digest(&self) -> &str;

    /// Components of a vector.
    fn dimensions(&self) -> usize;

    /// Tokens of `text`, special tokens included, as counted against the model's window.
    fn count_tokens(&self, text: &str) -> usize;

    /// One unit-length vector per text, in order. Dropping the future cancels what has not
    /// begun.
    async fn embed(&self, texts: &[Arc<str>], lane: Lane) -> Result<Vec<Embedding>, EmbedError>;
}
