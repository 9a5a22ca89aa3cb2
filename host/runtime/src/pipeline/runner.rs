//! Runs of a pipeline: what they read and write, and the position that they state.
//!
//! A run calls the component on the guest threads, and once more if what it read has no position
//! that satisfies the client. Out of scope: the call itself (`invoke`), and the cache
//! ([`answers`](crate::answers)).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metrics::{Gauge, gauge};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use weir_cache::reads::ReadSet;
use weir_core::pattern::Scope;
use weir_core::{Commit, Position};
use weir_embedding::Origin;
use weir_embedding::models::Models;
use weir_limits::client::Client;

use super::answer::Answer;
use super::error::RunError;
use super::load::Pipeline;
use crate::capability::call::Call;
use crate::capability::guest::Contexts;
use crate::capability::{collections, documents, embedding, logging, request};
use crate::engine::guests::{NotRun, PipelineGuests};
use crate::engine::slots::NoSlot;
use crate::logs::Writer;
use crate::pipeline::canary::Watched;
use crate::request::{KeyedRequest, PartsRead};
use crate::tenant::Tenant;
use crate::tenant::reading::{Demand, Reading, Stated, Unsettled};

/// The most bytes that one request may pass to the host, or have it keep, in all of its host
/// calls together, in addition to the body of its answer.
const MAX_HOST_CALL_BYTES: usize = 64 << 20;

/// How one run ended, and what it had read by then. Like an answer, an error depends on what was
/// read.
#[derive(Clone, Debug)]
pub struct Run {
    /// The answer, or why there is none.
    pub outcome: Result<Answer, RunError>,
    /// The position that the outcome is exact at. If the pipeline wrote, that of its last write.
    pub stated: Stated,
    /// What was read, whether it existed or not.
    pub reads: ReadSet,
    /// The parts of the request that were read.
    pub parts: Arc<PartsRead>,
    /// Whether a host call was unavailable, timed out or failed.
    pub degraded: bool,
    /// Whether its writes are searchable, if it wrote.
    pub searchable: Option<bool>,
    /// How long the run took, with the wait for a guest slot and for a position.
    pub compute: Duration,
}

/// The most runs of a pipeline that nobody waits for, because its clients have left or because they
/// refresh an answer. More than a few would be an attack.
const MAX_UNATTENDED_RUNS: usize = 4;

/// Runs a pipeline for one tenant. Holds what all of its runs share.
pub struct Runner {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The tenant whose collections it accesses.
    pub tenant: Arc<Tenant>,
    /// What its runs, and the decisions of its policy, run on.
    pub guests: Arc<PipelineGuests>,
    scopes: collections::Grant,
    models: Arc<Models>,
    /// Whose work the texts are that it embeds.
    origin: Arc<Origin>,
    /// How many runs there may be at once.
    max_runs: Gauge,
    logging: Arc<logging::Context>,
    /// For pipelines that are not granted to write: nothing is ever recorded in it, so all runs
    /// share one.
    no_writes: Arc<documents::Context>,
    /// For runs that nobody waits for. Those whose clients have all left go on, so that a client that
    /// comes back finds the answer, but only so many: they take time and slots from others.
    pub unattended: Arc<Semaphore>,
    io: Handle,
    /// If its runs are compared with those of another version.
    watched: Option<Watched>,
}

impl Runner {
    /// Creates a runner of `pipeline` for `tenant`, with host calls on the runtime `io`. What it logs is kept
    /// in `log`.
    #[must_use]
    pub fn new(
        pipeline: Arc<Pipeline>,
        tenant: Arc<Tenant>,
        guests: Arc<PipelineGuests>,
        models: Arc<Models>,
        io: Handle,
        watched: Option<Watched>,
        log: Writer,
    ) -> Self {
        let logging = logging::Context::new(tenant.name.clone(), pipeline.name.clone(), log);
        let origin = Origin::pipeline(tenant.name.as_str(), pipeline.name.as_str())
            .counting(guests.waited().clone());
        let scopes = pipeline.grants.collections.clone().unwrap_or_default();
        let no_writes = documents::Context::new(Arc::clone(&tenant), Scope::default());
        let max_runs = max_runs(&tenant, &pipeline);
        Self {
            pipeline,
            tenant,
            guests,
            scopes,
            models,
            origin: Arc::new(origin),
            max_runs,
            logging: Arc::new(logging),
            no_writes: Arc::new(no_writes),
            unattended: Arc::new(Semaphore::new(MAX_UNATTENDED_RUNS)),
            io,
            watched,
        }
    }

    /// Runs the pipeline on the guest threads and waits for it. Runs it once more if what it read
    /// had no position that satisfies the demand, unless it has written. Dropping the future
    /// cancels the run.
    pub async fn run(&self, request: Arc<KeyedRequest>, demand: Demand) -> Run {
        let began = Instant::now();
        let deadline = began + self.pipeline.deadline;
        let at_least = self.tenant.at_least(demand.at_least);
        let reading = self.tenant.reading(at_least);
        let mut attempt = self.attempt(&request, deadline, reading).await;
        if attempt.unsettled().is_some() && attempt.contexts.wrote().is_empty() {
            // Not while a guest slot is held.
            let give_up_at = deadline.min(Instant::now() + demand.patience);
            let later = attempt.contexts.collections.reading.settled_view();
            if let Ok(view) = timeout_at(give_up_at.into(), later).await {
                let reading = Reading::of(Arc::clone(&self.tenant.progress), at_least, view);
                attempt = self.attempt(&request, deadline, reading).await;
            }
        }
        let (stated, unreached) = self.stated(&attempt, at_least);
        let Attempt { outcome, contexts, .. } = attempt;
        let outcome = unreached.map_or(outcome, Err);
        let compute = began.elapsed();
        if let Some(watched) = &self.watched {
            watched.ran(&outcome, compute);
        }
        self.pipeline.counters.ran(outcome.as_ref().err().map(RunError::label));
        if let Some(error) = outcome.as_ref().err().filter(|error| error.is_fault()) {
            self.logging.failed(&request.id, &error.to_string());
        }
        self.max_runs.set(f64::from(u32::try_from(self.guests.max_runs()).unwrap_or(u32::MAX)));
        // A failure is answered at once: it says nothing about its writes.
        let searchable = if outcome.is_ok() { self.searchable(&contexts).await } else { None };
        Run {
            outcome,
            stated,
            searchable,
            reads: contexts.reads(),
            parts: Arc::new(contexts.parts_read()),
            degraded: contexts.call.degraded.load(Ordering::Relaxed),
            compute,
        }
    }

    async fn attempt(
        &self,
        request: &Arc<KeyedRequest>,
        deadline: Instant,
        reading: Reading,
    ) -> Attempt {
        let contexts = self.contexts(Arc::clone(request), deadline, reading);
        let outcome = self.run_there(request.client, contexts.clone()).await;
        Attempt { outcome, settled: contexts.collections.reading.settle(), contexts }
    }

    /// The position that the attempt's outcome states, and why it may not be given out if so.
    fn stated(&self, attempt: &Attempt, at_least: Position) -> (Stated, Option<RunError>) {
        if let Some(last) = attempt.contexts.wrote().into_values().max() {
            return (Stated::At(last), None);
        }
        match &attempt.settled {
            Ok(commit) => (Stated::At(*commit), None),
            Err(Unsettled::Behind) => {
                let unreached = RunError::PositionNotReached { at_least };
                (Stated::At(Commit::ZERO), Some(unreached))
            }
            Err(Unsettled::Split(positions)) => {
                let refused = self.pipeline.consistent.then_some(RunError::PositionNotAvailable);
                (Stated::Split(positions.clone()), refused)
            }
        }
    }

    /// Waits until what the run wrote is searchable, if it wrote.
    async fn searchable(&self, contexts: &Contexts) -> Option<bool> {
        let wrote = contexts.wrote();
        let writes: Vec<_> = wrote.iter().map(|(name, commit)| (name, *commit)).collect();
        if writes.is_empty() {
            return None;
        }
        Some(self.tenant.documents.searchable(&writes).await)
    }

    async fn run_there(&self, client: Client, contexts: Contexts) -> Result<Answer, RunError> {
        let deadline = contexts.call.deadline;
        let pipeline = Arc::clone(&self.pipeline);
        let budget = self.guests.memory_budget(pipeline.limits.max_memory_bytes);
        let run = || async move { pipeline.run_here(contexts, budget).await };
        self.guests.run(client, deadline, run).await.unwrap_or_else(|not_run| {
            Err(match not_run {
                NotRun::NoSlot => RunError::NoSlot(NoSlot),
                NotRun::DeadlineExceeded => self.pipeline.deadline_exceeded(),
                NotRun::Panicked => RunError::Panicked,
            })
        })
    }

    fn contexts(
        &self,
        request: Arc<KeyedRequest>,
        deadline: Instant,
        reading: Reading,
    ) -> Contexts {
        let Pipeline { limits, settings, .. } = &*self.pipeline;
        let reading = Arc::new(reading);
        let (models, origin) = (Arc::clone(&self.models), Arc::clone(&self.origin));
        Contexts {
            call: Arc::new(Call {
                request_id: request.id.clone(),
                deadline,
                io: self.io.clone(),
                host_calls: Arc::new(Semaphore::new(limits.max_host_calls)),
                open_host_calls: AtomicUsize::new(0),
                bytes_left: AtomicUsize::new(MAX_HOST_CALL_BYTES + limits.max_answer_bytes),
                max_answer_bytes: limits.max_answer_bytes,
                untracked: AtomicBool::new(false),
                degraded: AtomicBool::new(false),
            }),
            request: Arc::new(request::Context::new(request)),
            embedding: Arc::new(embedding::Context {
                models,
                reading: Arc::clone(&reading),
                origin,
            }),
            collections: self.reads(reading),
            documents: self.writes(),
            logging: Arc::clone(&self.logging),
            settings: Arc::clone(settings),
        }
    }

    fn reads(&self, reading: Arc<Reading>) -> Arc<collections::Context> {
        let (tenant, scope) = (Arc::clone(&self.tenant), self.scopes.read.clone());
        let searching = self.guests.searching().clone();
        Arc::new(collections::Context::new(tenant, scope, reading, searching))
    }

    fn writes(&self) -> Arc<documents::Context> {
        let scope = &self.scopes.write;
        if scope.is_empty() {
            return Arc::clone(&self.no_writes);
        }
        Arc::new(documents::Context::new(Arc::clone(&self.tenant), scope.clone()))
    }
}

fn max_runs(tenant: &Tenant, pipeline: &Pipeline) -> Gauge {
    let (tenant, pipeline) = (tenant.name.to_string(), pipeline.name.to_string());
    gauge!("weir_pipeline_max_runs", "tenant" => tenant, "pipeline" => pipeline)
}

/// One of at most two executions of a run.
struct Attempt {
    outcome: Result<Answer, RunError>,
    settled: Result<Commit, Unsettled>,
    contexts: Contexts,
}

impl Attempt {
    fn unsettled(&self) -> Option<&Unsettled> {
        self.settled.as_ref().err()
    }
}
