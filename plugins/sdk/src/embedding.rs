//! Turning texts into vectors. Needs the grant `weir:embedding/embedder`.
//!
//! Vectors stay on the host: an [`Embedding`] is a handle to give to a
//! [`Query`](crate::collections::Query). Its numbers enter the sandbox only when
//! [`Embedding::values`] asks for them.

use crate::bindings::pipeline::weir::embedding::embedder;
use crate::bindings::pipeline::weir::embedding::types as wit;

/// A vector of unit length, kept by the host.
#[derive(Debug)]
pub struct Embedding(pub(crate) wit::Embedding);

impl Embedding {
    /// How many numbers the vector has.
    #[must_use]
    pub fn dimensions(&self) -> u32 {
        self.0.dimensions()
    }

    /// The numbers, copied into the sandbox.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        self.0.values()
    }
}

/// Why there are no vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedError {
    /// The host has no model of this name.
    UnknownModel(String),
    /// The grant does not cover the model of this name.
    Denied(String),
    /// The call breaks a rule, such as the limit of 256 texts.
    Invalid(String),
    /// A text is longer than the model's window.
    TooLong {
        /// The text's index in the call.
        index: u32,
        /// How many tokens it has, at least.
        tokens: u32,
        /// How many tokens the model takes.
        max_tokens: u32,
    },
    /// A text has more bytes than any text that fits into the model's window.
    TooLarge {
        /// The text's index in the call.
        index: u32,
        /// How many bytes it has.
        bytes: u64,
        /// How many bytes the model takes.
        max_bytes: u64,
    },
    /// The request has passed more bytes to the host than it may.
    QuotaExceeded,
    /// The model is overloaded. A later request may succeed.
    Unavailable(String),
    /// The request's deadline has passed.
    TimedOut,
    /// The model failed.
    Failed(String),
}

impl From<wit::EmbedError> for EmbedError {
    fn from(error: wit::EmbedError) -> Self {
        match error {
            wit::EmbedError::UnknownModel(name) => Self::UnknownModel(name),
            wit::EmbedError::Denied(name) => Self::Denied(name),
            wit::EmbedError::Invalid(reason) => Self::Invalid(reason),
            wit::EmbedError::TooLong(wit::LongText { index, tokens, max_tokens }) => {
                Self::TooLong { index, tokens, max_tokens }
            }
            wit::EmbedError::TooLarge(wit::LargeText { index, bytes, max_bytes }) => {
                Self::TooLarge { index, bytes, max_bytes }
            }
            wit::EmbedError::QuotaExceeded => Self::QuotaExceeded,
            wit::EmbedError::Unavailable(reason) => Self::Unavailable(reason),
            wit::EmbedError::TimedOut => Self::TimedOut,
            wit::EmbedError::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// The vector of one text. `model` is a name that the operator gave; `None` is the host's default
/// model.
///
/// # Errors
/// There is no vector.
pub async fn embed(model: Option<&str>, text: &str) -> Result<Embedding, EmbedError> {
    let mut embeddings = embed_all(model, [text]).await?;
    embeddings.pop().ok_or_else(|| EmbedError::Failed("the host returned no vector".into()))
}

/// One vector for each text, in order. One call is cheaper than many: the texts share batches.
///
/// # Errors
/// There are no vectors: a call returns all of them or none.
pub async fn embed_all(
    model: Option<&str>,
    texts: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Vec<Embedding>, EmbedError> {
    let texts = texts.into_iter().map(Into::into).collect();
    let embeddings = embedder::embed(model.map(Into::into), texts).await?;
    Ok(embeddings.into_iter().map(Embedding).collect())
}
