//! Turns text into vectors: the trait that the rest of the host uses, and its implementation.
//!
//! The path of a text: it gets its key in [`Texts`], the texts of a call; [`cached`] has its vector
//! already, or computes it once for all calls of its caller; `queue` holds it in one of three lanes,
//! as far as there is `room`, and says in a `fair` order whose turn it is; `pool` takes it to a
//! thread that turns it into tokens (`tokenizer`) and then, with others of similar length (`batch`),
//! to a session's thread; `session` runs the model; `call` takes the vector back to who waits, and
//! `encoded` is how the shared tier keeps it. [`onnx`] assembles these and, with [`expected`], checks at startup that the model is
//! the one it is named after; [`load_error`] describes what is wrong with it. [`chunks`] splits
//! text so that each piece fits the model's window.
//!
//! Out of scope: what a guest may embed (`weir-runtime`), and vector search (`weir-search`).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use thiserror::Error;
use weir_limits::waited::Waited;

mod batch;
pub mod cached;
mod call;
pub mod chunks;
mod encoded;
pub mod expected;
mod fair;
pub mod load_error;
pub mod models;
pub mod onnx;
mod pool;
mod queue;
mod room;
mod session;
#[cfg(test)]
mod tests;
mod texts;
mod tokenizer;

pub use self::texts::Texts;

/// A unit-length vector, shared and never copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(pub Arc<[f32]>);

/// The most bytes of a text for each token of the model's window. A word of a vocabulary has at
/// most a hundred characters of up to four bytes; what is longer is noise.
const MAX_BYTES_PER_TOKEN: usize = 512;

/// The vector of a text, and how many tokens the text has.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// The vector.
    pub vector: Embedding,
    /// Tokens of the text, including the model's special tokens.
    pub tokens: usize,
}

/// What became of a text.
pub type Answer = Result<Embedded, EmbedError>;

/// A kind of work. While all have work, each gets its weight's share of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Guests. Somebody waits, so what finds no room is refused with [`EmbedError::Overloaded`].
    Pipeline,
    /// `/v1/embeddings`. Refused like pipelines.
    Api,
    /// The catch-up of documents. Waits for room; its vectors are not kept in the memory tier.
    CatchUp,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Pipeline, Self::Api, Self::CatchUp];

    /// Its share, relative to the others'. A power of two of at most 4.
    const fn weight(self) -> u64 {
        match self {
            Self::Pipeline => 4,
            Self::Api => 2,
            Self::CatchUp => 1,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Whose work a text is: the callers of a lane are served in turn, and share its room.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What kind of work it is.
    pub lane: Lane,
    /// The caller's name within the lane: a tenant, or a tenant and its pipeline, `tenant/pipeline`.
    pub caller: Arc<str>,
    /// Not compared: two origins are the same whatever their texts add to.
    waited: Waited,
}

impl Origin {
    /// What a pipeline embeds for a tenant.
    #[must_use]
    pub fn pipeline(tenant: &str, pipeline: &str) -> Self {
        Self::of(Lane::Pipeline, format!("{tenant}/{pipeline}").into())
    }

    /// What a tenant's clients embed.
    #[must_use]
    pub fn api(tenant: &str) -> Self {
        Self::of(Lane::Api, tenant.into())
    }

    /// A tenant's documents.
    #[must_use]
    pub fn catch_up(tenant: &str) -> Self {
        Self::of(Lane::CatchUp, tenant.into())
    }

    /// The same, whose texts add to `waited` for how long they have waited in the queue.
    #[must_use]
    pub fn counting(self, waited: Waited) -> Self {
        Self { waited, ..self }
    }

    fn of(lane: Lane, caller: Arc<str>) -> Self {
        Self { lane, caller, waited: Waited::default() }
    }

    /// Whose it is. No tenant has a slash in its name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.caller.split_once('/').map_or(&*self.caller, |(tenant, _)| tenant)
    }

    /// The pipeline that embeds, if one does.
    #[must_use]
    pub fn of_pipeline(&self) -> Option<&str> {
        self.caller.split_once('/').map(|(_, pipeline)| pipeline)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.lane, &self.caller) == (other.lane, &other.caller)
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.lane, &self.caller).hash(state);
    }
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
    /// The text has too many bytes to be worth counting its tokens.
    #[error("the text has {bytes} bytes, but the model takes at most {max_bytes}")]
    TooManyBytes {
        /// The text's index in the call.
        index: usize,
        /// Bytes of the text.
        bytes: usize,
        /// The most bytes of a text: [`Embedder::max_bytes`].
        max_bytes: usize,
    },
    /// The queue has no room for the call, or the caller has used its share of it.
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
            Self::TooManyBytes { index, bytes, max_bytes } => {
                Self::TooManyBytes { index: outer(index), bytes, max_bytes }
            }
            error => error,
        }
    }
}

/// Vectors that are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InMemory {
    /// How many there are.
    pub vectors: u64,
    /// The memory that they take.
    pub bytes: u64,
    /// Whether all tenants have them in common.
    pub is_shared: bool,
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

    /// The most bytes of a text, a multiple of the window. Longer text is never tokenized.
    fn max_bytes(&self) -> usize {
        self.max_tokens().saturating_mul(MAX_BYTES_PER_TOKEN)
    }

    /// Refuses texts that are too long to be tokenized, before anything is done with them.
    ///
    /// # Errors
    /// One has more than [`Self::max_bytes`].
    fn check_bytes(&self, texts: &Texts) -> Result<(), EmbedError> {
        let max_bytes = self.max_bytes();
        let mut bytes = texts.iter().map(|text| text.len()).enumerate();
        match bytes.find(|(_, bytes)| *bytes > max_bytes) {
            Some((index, bytes)) => Err(EmbedError::TooManyBytes { index, bytes, max_bytes }),
            None => Ok(()),
        }
    }

    /// The number of tokens in `text`, including special tokens, as counted against the window.
    /// This blocks; `text` must not be longer than [`Self::max_bytes`].
    fn count_tokens(&self, text: &str) -> usize;

    /// The vectors that are kept in memory for a tenant; `None` if none ever are.
    fn in_memory(&self, _tenant: &str) -> Option<InMemory> {
        None
    }

    /// Returns the vector of each text, in order; all of them or an error that names one text or
    /// none. Dropping the future cancels the texts that have not started, unless other calls of
    /// the same origin wait for them.
    async fn embed(&self, texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError>;
}

/// The answers of a call, as they come, each with the index of its text. It ends when every text that
/// was not cancelled has its answer. Dropping it cancels the rest.
///
/// A text that is cancelled while it is queued leaves the queue, and its room is free at once. One
/// that is in a batch is computed, for nobody.
pub trait Pending: Stream<Item = (usize, Answer)> + Send + Unpin {
    /// Cancels the texts with these indexes that have no answer yet.
    fn cancel(&mut self, indexes: &[usize]);
}

/// An embedder whose texts can be waited for, and cancelled, one by one.
pub trait Submit: Embedder + 'static {
    /// Queues all of the texts or none; does not wait for room. None may have more than
    /// [`Embedder::max_bytes`].
    ///
    /// # Errors
    /// There is no room, or the embedder is stopped.
    fn submit(&self, texts: &[Arc<str>], origin: &Origin) -> Result<Box<dyn Pending>, EmbedError>;
}
