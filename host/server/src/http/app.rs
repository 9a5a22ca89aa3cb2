//! What every request of one server shares.

use std::sync::Arc;

use weir_embedding::models::Models;
use weir_runtime::answers::Answers;
use weir_runtime::deploy::Deployments;
use weir_runtime::engine::Engines;
use weir_runtime::tenant::config::Ingest;
use weir_store::{DataFolder, SystemStore};

use super::body::Room;
use crate::config;
use crate::identity::Tenants;
use crate::lifecycle::Lifecycle;
use crate::telemetry::metrics::Metrics;

/// One server's parts. Wired once at the start, shared by every request.
pub struct App {
    /// The bounds of the public listener.
    pub server: config::Server,
    /// The bounds of what one request may bring in.
    pub ingest: Ingest,
    /// For a request's whole work where no pipeline sets another, in milliseconds.
    pub deadline_ms: u64,
    /// The tenants, and which request is whose.
    pub tenants: Tenants,
    /// What belongs to the server and to no tenant.
    pub system: Arc<dyn SystemStore>,
    /// Where the stores are; held for as long as the server lives.
    pub data_folder: Arc<DataFolder>,
    /// The models in service.
    pub models: Arc<Models>,
    /// wasmtime, ticking for as long as the server lives.
    pub engines: Engines,
    /// Which pipeline and which policy serve a name now.
    pub deployments: Deployments,
    /// The cache of answers, and the way to new ones.
    pub answers: Arc<Answers>,
    /// Memory for the bodies of requests.
    pub bodies: Room,
    /// Counters, and their rendering.
    pub metrics: Metrics,
    /// Whether new work is still welcome.
    pub lifecycle: Lifecycle,
}
