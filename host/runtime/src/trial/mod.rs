//! Trials: a pipeline answers requests before anything is served with it, over an empty [`tenant`].
//!
//! An upload is refused if the plugin cannot handle the [`samples`] of its manifest, and `weir plugin test` runs
//! its cases. A trial is the same run that a client would cause, on the same engine: a fresh store, the manifest's
//! grants, the limits of a run. Only the tenant is another, new for each request, so that no request sees what
//! another has written, nothing of a real tenant is read, and nothing that is written stays. The cache takes no part.
//!
//! Trials have engines, threads, slots and guests' memory of their own, for one guest at a time, so that a plugin
//! that is tried takes none of those that served requests need. What they share with them is the machine and the models:
//! texts are embedded as those of any other pipeline, in turn with theirs. Without a model, `no_model` answers.
//!
//! Out of scope: which requests there are and what is expected of them ([`crate::plugin`]), and compiling.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at};
use weir_core::name::Name;
use weir_embedding::models::Models;
use weir_limits::charge::Charge;
use weir_limits::client::Client;

use crate::engine::config::{self, Large};
use crate::engine::guests::{Guests, PipelineGuests};
use crate::engine::size::Size;
use crate::engine::{EngineError, Engines};
use crate::logs::Writer;
use crate::pipeline::{Answer, Pipeline, RunError, Runner};
use crate::plugin::manifest::{Manifest, Request};
use crate::request::{KeyedRequest, RequestId};
use crate::settings::Settings;
use crate::tenant::reading::Demand;
use no_model::NoModel;

mod no_model;
pub mod samples;
mod tenant;

/// How long somebody waits for the trial before theirs.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Where pipelines are tried.
pub struct Trials {
    engines: Engines,
    limits: config::Engine,
    small: Arc<PipelineGuests>,
    large: Arc<PipelineGuests>,
    /// Their threads end with it.
    _guests: Guests,
    models: Arc<Models>,
    /// What takes the place of models, if there are none.
    no_model: Option<Arc<NoModel>>,
    io: Handle,
    /// One trial at a time.
    turn: Semaphore,
}

/// The right to try a plugin.
pub struct Trial<'t> {
    trials: &'t Trials,
    /// What it is called: the path of requests has it.
    name: &'t Name,
    _turn: SemaphorePermit<'t>,
}

/// How a request was answered.
#[derive(Debug)]
pub struct Tried {
    /// The answer, or why there is none.
    pub outcome: Result<Answer, RunError>,
    /// Whether it embedded, and there is no model.
    pub lacked_model: bool,
    /// Whether a host call was unavailable, timed out or failed.
    pub degraded: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a request was not tried, which says nothing about the plugin, except for [`TrialError::OutOfTime`].
#[derive(Debug, Error)]
pub enum TrialError {
    /// Another plugin is being tried, and does not end.
    #[error("other plugins are being tried: try again later")]
    Busy,
    /// The time for the whole trial is used up.
    #[error("the time for all of its requests is used up")]
    OutOfTime,
    /// The host failed.
    #[error("a plugin could not be tried: {0}")]
    Failed(String),
}

impl TrialError {
    fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why plugins cannot be tried.
#[derive(Debug, Error)]
pub enum TrialsError {
    /// The engines cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The threads cannot be started.
    #[error("cannot start the threads of trials: {0}")]
    Threads(#[from] io::Error),
    /// Whatever takes the place of models is refused, which is a mistake in the host.
    #[error("{0}")]
    Failed(String),
}

impl Trials {
    /// Sets up trials of pipelines of these sizes, with the limits of `engine` for one guest, and these models
    /// if there are any. Host calls run on the runtime `io`.
    ///
    /// # Errors
    /// The engines or the threads are refused.
    pub fn start(
        engine: &config::Engine,
        sizes: impl IntoIterator<Item = Size>,
        models: Option<Arc<Models>>,
        io: Handle,
    ) -> Result<Self, TrialsError> {
        let limits = for_one_guest(engine);
        let engines = Engines::unmeasured(&limits, sizes)?;
        let guests = Guests::start(&limits, 1, &engines.clock(), &io)?;
        let tenant = guests.of_tenant(1);
        // Once: accounts are never given back.
        let of = |size| Arc::new(guests.of_pipeline(&tenant, 1, size));
        let (small, large) = (of(Size::Small), of(Size::Large));
        let (models, no_model) = match models {
            Some(models) => (models, None),
            None => {
                let none = Arc::new(NoModel::default());
                let models = Models::new(NoModel::NAME, [Arc::clone(&none) as _]);
                let models = models.map_err(|error| TrialsError::Failed(error.to_string()))?;
                (Arc::new(models), Some(none))
            }
        };
        let turn = Semaphore::new(1);
        Ok(Self { engines, limits, small, large, _guests: guests, models, no_model, io, turn })
    }

    /// The engines that pipelines are tried on, for which they have to be compiled.
    #[must_use]
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// The limits of a guest.
    #[must_use]
    pub fn limits(&self) -> &config::Engine {
        &self.limits
    }

    /// What a pipeline is tried with: what its manifest asks for, as far as the limits allow it. What only
    /// operators allow is allowed, because no browser sees an answer.
    #[must_use]
    pub fn config(
        &self,
        manifest: &Manifest,
        settings: Settings,
    ) -> crate::pipeline::config::Pipeline {
        let size = manifest.limits.size.unwrap_or_default();
        let most_ms = self.limits.deadline_ms;
        let most_bytes = self.limits.max_memory_bytes_of(size);
        crate::pipeline::config::Pipeline {
            grants: manifest.grants.clone(),
            deadline_ms: Some(manifest.limits.deadline_ms.unwrap_or(most_ms).min(most_ms)),
            size,
            max_memory_bytes: Some(
                manifest.limits.max_memory_bytes.unwrap_or(most_bytes).min(most_bytes),
            ),
            active_content: true,
            redirects: true,
            settings,
            ..Default::default()
        }
    }

    /// Waits until no other plugin is being tried.
    ///
    /// # Errors
    /// That takes too long.
    pub async fn begin<'t>(&'t self, name: &'t Name) -> Result<Trial<'t>, TrialError> {
        match timeout(MAX_WAIT, self.turn.acquire()).await {
            Ok(Ok(turn)) => Ok(Trial { trials: self, name, _turn: turn }),
            _ => Err(TrialError::Busy),
        }
    }
}

impl Trial<'_> {
    /// Has a pipeline answer a request, by `until` at the latest.
    ///
    /// # Errors
    /// It is not answered by then, or the host failed.
    pub async fn run(
        &self,
        pipeline: &Arc<Pipeline>,
        request: &Request,
        until: Instant,
    ) -> Result<Tried, TrialError> {
        let Trials { models, no_model, io, small, large, .. } = self.trials;
        let tenant = tenant::empty(models, &pipeline.grants).await?;
        let guests = match pipeline.size {
            Size::Small => small,
            Size::Large => large,
        };
        let (models, guests) = (Arc::clone(models), Arc::clone(guests));
        let pipeline = Arc::clone(pipeline);
        let log = Writer::nowhere(tenant.name.clone());
        let runner =
            Runner::new(pipeline, Arc::clone(&tenant), guests, models, io.clone(), None, log);
        let began = Instant::now();
        let run = runner.run(Arc::new(self.keyed(request)), Demand::default());
        let ran = timeout_at(until.into(), run).await;
        let took = began.elapsed();
        tenant.documents.close().await;
        let lacked_model = no_model.as_ref().is_some_and(|model| model.was_asked());
        let run = ran.map_err(|_| TrialError::OutOfTime)?;
        Ok(Tried { outcome: run.outcome, lacked_model, degraded: run.degraded, took })
    }

    /// The request as a pipeline without a cache policy gets it.
    fn keyed(&self, request: &Request) -> KeyedRequest {
        let mut headers = request.headers.clone();
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        KeyedRequest {
            id: RequestId::of([0; 2]),
            client: Client::at([127, 0, 0, 1].into()),
            method: Method::POST,
            path: format!("/v1/pipelines/{}", self.name),
            query: form_urlencoded::parse(request.query.as_bytes()).into_owned().collect(),
            headers,
            body: request.body.text().clone(),
            charge: Charge::none(),
        }
    }
}

/// The limits of an engine, for one guest at a time.
fn for_one_guest(limits: &config::Engine) -> config::Engine {
    let large = &limits.large;
    // A pipeline may use as much as is left for others, and a third is kept for the next guest.
    let max_guests_memory_bytes = limits.max_memory_bytes.max(large.max_memory_bytes) * 4;
    config::Engine {
        guest_threads: 1,
        max_concurrent_guests: 1,
        max_concurrent_decisions: 1,
        max_guests_memory_bytes,
        large: Large { max_concurrent_guests: large.max_concurrent_guests.min(1), ..large.clone() },
        ..limits.clone()
    }
}
