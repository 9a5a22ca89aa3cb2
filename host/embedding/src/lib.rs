//! Turns text into vectors: the trait that the rest of the host uses, and its implementation.
//!
//! The path of a text: [`cached`] has its vector already, or computes it once for everyone who
//! asks; `tokenizer` turns it into tokens; `queue` holds it in one of two lanes; `pool` takes
//! it, with others of similar length (`batch`), to a session's thread; `session` runs the
//! model. [`onnx`] assembles these and, with [`expected`], checks at startup that the model is
//! the one it is named after; [`load_error`] describes what is wrong with it. [`chunks`] splits
//! text so that each piece fits the model's window.
//!
//! Out of scope: what a guest may embed (`weir-runtime`), and vector search (`weir-search`).

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

/// A unit-length vector, shared and never copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(pub Arc<[f32]>);

/// The priority of a text: the interactive lane is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A client waits. Refused at once with [`EmbedError::Overloaded`] if the queue is full.
    Interactive,
    /// The catch-up of documents. Waits for room; its vectors are not kept in the memory tier.
    Bulk,
}

/// Why a text was not embedded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmbedError {
    /// The text has more tokens than the model's window.
    #[error("the text has at least {tokens} tokens, but the model takes at most {max_tokens}")]
    TooLong {
        /// The text's index in the call.
        index: usize,
        /// Tokens of the text, including the model's special tokens. This is a lower bound,
        /// because a very long text is not read to its end.
        tokens: usize,
        /// The model's window in tokens.
        max_tokens: usize,
    },
    /// The queue is full.
    #[error("the embedding queue is full")]
    Overloaded,
    /// The model failed; the string describes how.
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
    /// The name that requests use for the model.
    fn model(&self) -> &str;

    /// A hex digest that identifies the model's and the tokenizer's files. It is part of the key
    /// of every cached vector.
    fn model_digest(&self) -> &str;

    /// Components of a vector.
    fn dimensions(&self) -> usize;

    /// The model's window: the most tokens that a text may have, including special tokens;
    /// 256 unless an implementation says otherwise.
    fn max_tokens(&self) -> usize {
        256
    }

    /// The number of tokens in `text`, including special tokens, as counted against the window.
    fn count_tokens(&self, text: &str) -> usize;

    /// Returns one unit-length vector per text, in order. Dropping the future cancels the texts
    /// that have not started, unless an implementation shares them with other callers.
    async fn embed(&self, texts: &[Arc<str>], lane: Lane) -> Result<Vec<Embedding>, EmbedError>;
}
