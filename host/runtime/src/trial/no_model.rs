//! The embedder where there is no model: it makes no vector, and says so.
//!
//! An author's machine need not have the models of a server. A vector that is made up would let a test pass that
//! no server passes, so whoever embeds gets an error.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use weir_embedding::{EmbedError, Embedded, Embedder, Origin, Texts};

/// An embedder without a model.
#[derive(Default)]
pub(super) struct NoModel {
    was_asked: AtomicBool,
}

impl NoModel {
    /// What requests would call it.
    pub(super) const NAME: &str = "none";

    /// Whether anybody wanted a vector since this was last asked.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::Relaxed)
    }
}

#[async_trait]
impl Embedder for NoModel {
    fn model(&self) -> &str {
        Self::NAME
    }

    fn model_digest(&self) -> &str {
        Self::NAME
    }

    fn dimensions(&self) -> usize {
        1
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    async fn embed(&self, _texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        if origin.of_pipeline().is_some() {
            self.was_asked.store(true, Ordering::Relaxed);
        }
        Err(EmbedError::Failed("there is no model here".to_owned()))
    }
}
