//! The parts of a server that all of its requests share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_embedding::cached::SharedVectors;
use weir_embedding::models::Models;
use weir_runtime::deploy::Deployments;
use weir_runtime::deploy::registry::Registry;
use weir_runtime::tenant::config::Ingest;
use weir_store::{DataFolder, SystemStore};

use super::body::{BodyLimits, Room};
use super::cors::Cors;
use super::parsing::Parsing;
use crate::config;
use crate::identity::Tenants;
use crate::identity::tokens::AdminTokens;
use crate::lifecycle::Lifecycle;
use crate::services::SharedTierService;
use crate::telemetry::metrics::Metrics;

/// The parts of one server, wired once at startup and shared by all requests.
pub struct App {
    /// The limits of the public listener.
    pub server: config::Server,
    /// Whether analytics are shown also to those who do not ask from this machine.
    pub open_analytics: bool,
    /// What web pages may do with pipelines, if anything.
    pub cors: Option<Box<Cors>>,
    /// The limits of what one request may ingest.
    pub ingest: Ingest,
    /// The deadline of a request whose pipeline does not set its own, in milliseconds.
    pub deadline_ms: u64,
    /// The tenants, and how requests are assigned to them.
    pub tenants: Tenants,
    /// The stores of the tenants' shared tiers.
    pub shared_tier: SharedTierService,
    /// State that belongs to the server rather than to a tenant.
    pub system: Arc<dyn SystemStore>,
    /// The tokens that administrators have made for others.
    pub tokens: Arc<AdminTokens>,
    /// The folder of the stores, locked as long as the server lives.
    pub data_folder: Arc<DataFolder>,
    /// The models that are loaded.
    pub models: Arc<Models>,
    /// Their vectors in the shared tiers of the tenants.
    pub vectors: Arc<SharedVectors>,
    /// What is deployed, and the engines and threads that it runs on, as long as the server lives.
    pub registry: Arc<Registry>,
    /// The pipeline and the policy that currently serve each name.
    pub deployments: Arc<Deployments>,
    /// The memory for request bodies, except for bodies of documents.
    pub bodies: Room,
    /// The memory for bodies of documents.
    pub document_bodies: Room,
    /// Where large bodies are parsed.
    pub parsing: Parsing,
    /// Metrics, and how they are rendered.
    pub metrics: Metrics,
    /// Whether the server still accepts new work.
    pub lifecycle: Lifecycle,
    /// When it began to count.
    pub started: Instant,
}

impl App {
    /// Moves on all counts of the last minutes; to be called every ten seconds.
    pub fn turn(&self) {
        let deployed = self.deployments.current();
        for pipeline in deployed.pipelines().values() {
            pipeline.counters.latencies.turn();
        }
        deployed.all().for_each(|deployment| deployment.tally.turn());
        self.vectors.turn();
    }

    /// The limits of a body, except for bodies of documents.
    #[must_use]
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.server.max_body_bytes,
            timeout: Duration::from_millis(self.server.body_timeout_ms),
            min_bytes_per_second: self.server.min_body_bytes_per_second,
        }
    }
}
