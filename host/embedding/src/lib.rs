//! Texts to vectors: the trait that the rest of the host sees, and its one implementation.
//!
//! The way of a text: [`cached`] knows it already, or computes it once for all who ask;
//! `tokenizer` makes tokens of it; `queue` holds it in one of two lanes; `pool` takes it with
//! others of its length (`batch`) to a session's thread; `session` runs the model. [`onnx`]
//! puts these together and, with [`expected`], checks at the start that the model is the one
//! that it is called; [`load_error`] says what is wrong with it. [`chunks`] cuts a text so
//! that each piece fits the model's window.
//!
//! Left out: what a guest may embed (`capability`), and where vectors are searched.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

mod batch;
pub mod cached;
pub mod chunks;
pub mod expected;
pub mod load_error;
pub mod models;
pub mod onnx;
mod pool;
mod queue;
mod session;
#[cfg(test)]
mod tests;
mod tokenizer;

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
        /// The text's index in the call.
        index: usize,
        /// Tokens of the text, with the model's own special tokens. At least these: a very
        /// long text is not read to its end.
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

impl EmbedError {
    /// The error of a call whose text `index` is text `outer(index)` of the caller's call.
    fn reindexed(self, outer: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::TooLong { index, tokens, max_tokens } => {
                Self::TooLong { index: outer(index), tokens, max_tokens }
            }
            error => error,
        }
    }
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

    /// The model's window: tokens that a text may have, special tokens included.
    fn max_tokens(&self) -> usize {
        256
    }

    /// Tokens of `text`, special tokens included, as counted against the model's window.
    fn count_tokens(&self, text: &str) -> usize;

    /// One unit-length vector per text, in order. Dropping the future cancels what has not
    /// begun.
    async fn embed(&self, texts: &[Arc<str>], lane: Lane) -> Result<Vec<Embedding>, EmbedError>;
}
