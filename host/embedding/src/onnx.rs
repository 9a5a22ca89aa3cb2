//! A model in ONNX Runtime: its configuration, the checks at startup, and its [`Embedder`].
//!
//! Out of scope: sessions (`session`), threads and batches (`pool`), and the tiers (`cached`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::batch::Batch;
use super::cached::{Cached, Caches, SharedVectors};
use super::expected::{ALL_MINILM_L6_V2, Expected, check_digest};
use super::load_error::{LoadError, Part};
use super::pool::{Model, Pool};
use super::queue::{Bounds, Counters, Tokenize};
use super::session::{OnnxSession, environment, unreadable};
use super::tokenizer::TextTokenizer;
use super::{EmbedError, Embedded, Embedder, Embedding, Origin, Pending, Submit, Texts};

/// The files that a model is loaded from, and the limits of its work.
#[derive(Clone, Debug)]
pub struct OnnxConfig {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model, an ONNX file.
    pub model: PathBuf,
    /// Its tokenizer, a `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The name that requests use for the model.
    pub model_name: String,
    /// What the files must contain; `None` trusts them.
    pub expected: Option<Expected>,
    /// How many sessions to start, of one thread each; 0 means one per core.
    pub sessions: usize,
    /// The model's window in tokens per text, including special tokens.
    pub max_text_tokens: usize,
    /// The most tokens in a batch, including padding. Measured on one core, larger batches of
    /// long texts are no faster per text, and an interactive text waits for the batch before
    /// it.
    pub max_batch_tokens: usize,
    /// The most texts that wait in each lane.
    pub max_queued_texts: usize,
    /// The memory tiers of its vectors.
    pub caches: Caches,
}

impl OnnxConfig {
    /// all-MiniLM-L6-v2 from these files, with the defaults.
    #[must_use]
    pub fn new(library: PathBuf, model: PathBuf, tokenizer: PathBuf) -> Self {
        Self {
            library,
            model,
            tokenizer,
            model_name: ALL_MINILM_L6_V2.into(),
            expected: Some(Expected::all_minilm_l6_v2()),
            sessions: 0,
            max_text_tokens: 256,
            max_batch_tokens: 128,
            max_queued_texts: 1024,
            caches: Caches::Shared(64 << 20),
        }
    }
}

/// A model in ONNX Runtime behind the tiers of its vectors.
pub type OnnxEmbedder = Cached<OnnxModel>;

impl OnnxEmbedder {
    /// Checks the files and starts the sessions. Blocks for about a second. Its vectors are also kept in
    /// the tiers of `shared`.
    pub fn load(config: OnnxConfig, shared: Arc<SharedVectors>) -> Result<Arc<Self>, LoadError> {
        let caches = config.caches.clone();
        Ok(Arc::new(Cached::new(OnnxModel::load(config)?, caches, shared)))
    }
}

/// A model in ONNX Runtime without tiers: it computes every text.
pub struct OnnxModel {
    name: String,
    digest: String,
    dimensions: usize,
    tokenizer: Arc<TextTokenizer>,
    pool: Pool,
}

/// Counts of a model's work since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkCounts {
    /// Runs of the model.
    pub batches: u64,
    /// Texts whose vectors were computed.
    pub embedded_texts: u64,
    /// Texts dropped from the queue because nobody was waiting for them any more.
    pub abandoned_texts: u64,
    /// Texts refused because there was no room for their call, or none for their caller.
    pub refused_texts: u64,
}

impl WorkCounts {
    pub(super) fn of(counters: &Counters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            batches: read(&counters.batches),
            embedded_texts: read(&counters.embedded_texts),
            abandoned_texts: read(&counters.abandoned_texts),
            refused_texts: read(&counters.refused_texts),
        }
    }
}

impl OnnxModel {
    fn load(config: OnnxConfig) -> Result<Self, LoadError> {
        let environment = environment(&config.library)?;
        let expected = config.expected.as_ref();
        let digest_of = |pick: fn(&Expected) -> &String| expected.map(|e| pick(e).as_str());
        let (model, model_sha256) =
            read(Part::Model, &config.model, digest_of(|e| &e.model_sha256))?;
        let (json, tokenizer_sha256) =
            read(Part::Tokenizer, &config.tokenizer, digest_of(|e| &e.tokenizer_sha256))?;

        let tokenizer =
            TextTokenizer::from_bytes(&json, config.max_text_tokens).map_err(|error| {
                LoadError::Broken {
                    part: Part::Tokenizer,
                    path: config.tokenizer.clone(),
                    reason: error.to_string(),
                }
            })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sessions = if config.sessions == 0 { cores } else { config.sessions };
        let mut models = (0..sessions)
            .map(|_| OnnxSession::new(&environment, &config.model, &model))
            .collect::<Result<Vec<_>, _>>()?;
        if let (Some(expected), Some(session)) = (expected, models.first_mut()) {
            expected.check_vector(&run_once(session, &tokenizer, &expected.golden_text)?)?;
        }

        let dimensions = models.first().map_or(0, OnnxSession::dimensions);
        let bounds = Bounds {
            max_queued_texts: config.max_queued_texts,
            max_batch_tokens: config.max_batch_tokens,
            sessions,
        };
        let tokenizer = Arc::new(tokenizer);
        let tokenize: Arc<Tokenize> = {
            let tokenizer = Arc::clone(&tokenizer);
            Arc::new(move |text| tokenizer.encode(text))
        };
        let pool = Pool::start(models, &tokenize, tokenizer.pad_id(), bounds)
            .map_err(LoadError::Thread)?;
        Ok(Self {
            name: config.model_name,
            digest: hex_sha256(format!("{model_sha256} {tokenizer_sha256}").as_bytes()),
            dimensions,
            tokenizer,
            pool,
        })
    }

    /// Counts of the work so far.
    #[must_use]
    pub fn counts(&self) -> WorkCounts {
        WorkCounts::of(self.pool.counters())
    }
}

#[async_trait]
impl Embedder for OnnxModel {
    fn model(&self) -> &str {
        &self.name
    }

    fn model_digest(&self) -> &str {
        &self.digest
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    async fn embed(&self, texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        self.check_bytes(texts)?;
        let embedded = self.pool.embed(texts.distinct(), origin).await;
        let embedded =
            embedded.map_err(|error| error.reindexed(|distinct| texts.first(distinct)))?;
        Ok(texts.spread(embedded))
    }
}

impl Submit for OnnxModel {
    fn submit(&self, texts: &[Arc<str>], origin: &Origin) -> Result<Box<dyn Pending>, EmbedError> {
        Ok(Box::new(self.pool.submit(texts, origin)?))
    }
}

/// The file's bytes and their sha-256 in hex, which must equal `expected` if that is given.
fn read(part: Part, path: &Path, expected: Option<&str>) -> Result<(Vec<u8>, String), LoadError> {
    let bytes = std::fs::read(path).map_err(|source| unreadable(part, path, source))?;
    let found = hex_sha256(&bytes);
    if let Some(expected) = expected {
        check_digest(part, path, expected, &found)?;
    }
    Ok((bytes, found))
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn run_once(
    session: &mut OnnxSession,
    tokenizer: &TextTokenizer,
    text: &str,
) -> Result<Embedding, LoadError> {
    let tokens = tokenizer.encode(text).map_err(|error| LoadError::Runtime(error.to_string()))?;
    let batch = Batch::pad(std::iter::once(&tokens), tokenizer.pad_id());
    let vectors = session.run(&batch).map_err(LoadError::Runtime)?;
    vectors
        .into_iter()
        .next()
        .ok_or_else(|| LoadError::Runtime("the model returned no vector".into()))
}
