//! What the parts of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::task::TaskTracker;

use weir_backends::embedding::Embedder;
use weir_backends::vector::VectorStore;
use weir_cache::tag::TagTable;

use crate::config::Config;
use crate::documents::DocumentService;
use crate::engine::Engines;
use crate::http::body::Room;
use crate::pipeline;
use crate::serving::Serving;
use crate::telemetry::metrics::Metrics;

/// One server's parts. Built once by [`crate::cli::serve`], shared by every request.
pub struct App {
    /// The configuration that it was built from.
    pub config: Config,
    /// Collections and documents, in and out.
    pub documents: Arc<DocumentService>,
    /// What searches are asked of.
    pub vectors: Arc<dyn VectorStore>,
    /// The model in service.
    pub embedder: Arc<dyn Embedder>,
    /// The last position of everything that an answer can read.
    pub tags: Arc<TagTable>,
    /// wasmtime, ticking for as long as the server lives.
    pub engines: Engines,
    /// Pipelines and their policies.
    pub pipelines: pipeline::Registry,
    /// The cache of answers, and the way to new ones.
    pub serving: Arc<Serving>,
    /// Memory for the bodies of requests.
    pub bodies: Room,
    /// Counters, and their rendering.
    pub metrics: Metrics,
    /// Whether new work is still welcome.
    pub lifecycle: Lifecycle,
}

/// Whether a server takes on work, and what it must not leave unfinished.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
    /// Work that no client's disconnect may cut: transactions, fills, invalidations. A drain
    /// waits for it.
    pub detached: TaskTracker,
}

impl Lifecycle {
    /// Whether the server is ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The server is ending: readiness says so from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.detached.close();
    }
}
