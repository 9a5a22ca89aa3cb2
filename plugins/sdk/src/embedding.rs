//! Texts to vectors. Needs the grant `weir:embedding/embedder`.
//!
//! Vectors stay on the host: an [`Embedding`] is a handle, to be given to a
//! [`Query`](crate::collections::Query), and its numbers are copied into the sandbox only
//! when [`Embedding::values`] asks for them.

pub use crate::bindings::pipeline::weir::embedding::embedder::EmbedError;
pub use crate::bindings::pipeline::weir::embedding::types::Embedding;

use crate::bindings::pipeline::weir::embedding::embedder;

/// The vector of one text, by the model of that name; the empty name is the host's own.
pub async fn embed(model: &str, text: &str) -> Result<Embedding, EmbedError> {
    let mut embeddings = embed_all(model, [text]).await?;
    embeddings.pop().ok_or_else(|| EmbedError::Failed("the host answered no vector".into()))
}

/// One vector per text, in order. One call is cheaper than many: the texts share batches.
pub async fn embed_all(
    model: &str,
    texts: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Vec<Embedding>, EmbedError> {
    embedder::embed(model.into(), texts.into_iter().map(Into::into).collect()).await
}
