//! One run of a pipeline: a fresh store, one deadline, and an outcome that says what ended it.
//! Guests run on the guest threads. Out of scope: the cache (`answers`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use weir_bindings::pipeline::weir::pipeline::types as wit;
use weir_cache::reads::ReadSet;
use weir_core::Position;
use weir_core::pattern::Scope;

use super::answer::{self, Answer};
use super::error::{FailureKind, RunError};
use super::load::{Handler, Pipeline};
use crate::capability::body::BodyTooLarge;
use crate::capability::call::Call;
use crate::capability::guest::{Contexts, GuestState};
use crate::capability::{collections, documents, embedding, logging, request};
use crate::engine::limits::MemoryBudget;
use crate::engine::threads::{GuestThreads, NoSlot};
use crate::request::{KeyedRequest, PartsRead};
use crate::tenant::Tenant;

/// The most handles that a guest may hold at once.
const MAX_RESOURCES: usize = 10_000;
/// The most bytes that one request may pass to the host, or have it keep, in all of its host
/// calls together, in addition to the body of its answer.
const MAX_HOST_CALL_BYTES: usize = 64 << 20;
/// The most bytes of strings and lists that one host call may receive, in addition to those of an
/// answer.
const HOST_CALL_ALLOWANCE_BYTES: usize = 1 << 20;

/// How one run ended, and what it had read by then. Like an answer, an error depends on what was
/// read.
#[derive(Clone, Debug)]
pub struct Run {
    /// The answer, or why there is none.
    pub outcome: Result<Answer, RunError>,
    /// The position that the outcome is exact at: that of its last write, if it wrote.
    pub as_of: Position,
    /// What was read, whether it existed or not.
    pub reads: ReadSet,
    /// The parts of the request that were read.
    pub parts: PartsRead,
    /// How long the run took, with the wait for a guest slot.
    pub compute: Duration,
}

/// Runs a pipeline for one tenant. Holds what all of its runs share.
pub struct Runner {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The tenant whose collections it accesses.
    pub tenant: Arc<Tenant>,
    scopes: collections::Grant,
    embedding: Arc<embedding::Context>,
    logging: Arc<logging::Context>,
    /// For pipelines that are not granted to read or to write: nothing is ever recorded in them,
    /// so all runs share one.
    no_reads: Arc<collections::Context>,
    no_writes: Arc<documents::Context>,
    io: Handle,
}

impl Runner {
    /// Creates a runner of `pipeline` for `tenant`, with host calls on the runtime `io`.
    #[must_use]
    pub fn new(
        pipeline: Arc<Pipeline>,
        tenant: Arc<Tenant>,
        embedding: Arc<embedding::Context>,
        io: Handle,
    ) -> Self {
        let logging =
            logging::Context { tenant: tenant.name.clone(), pipeline: pipeline.name.clone() };
        let scopes = pipeline.grants.collections.clone().unwrap_or_default();
        let no_reads = collections::Context::new(Arc::clone(&tenant), Scope::default());
        let no_writes = documents::Context::new(Arc::clone(&tenant), Scope::default());
        Self {
            pipeline,
            tenant,
            scopes,
            embedding,
            logging: Arc::new(logging),
            no_reads: Arc::new(no_reads),
            no_writes: Arc::new(no_writes),
            io,
        }
    }

    /// Runs the pipeline on the guest threads and waits for it. Dropping the future cancels the
    /// run.
    pub async fn run(&self, threads: &GuestThreads, request: Arc<KeyedRequest>) -> Run {
        let began = Instant::now();
        // Taken before the first read.
        let as_of = self.tenant.as_of();
        let contexts = self.contexts(request, began + self.pipeline.deadline);
        let outcome = self.run_there(threads, contexts.clone()).await;
        let compute = began.elapsed();
        self.pipeline.counters.ran(outcome.as_ref().err().map(RunError::label), compute);
        Run {
            outcome,
            as_of: as_of.max(contexts.wrote_at()),
            reads: contexts.reads(),
            parts: contexts.parts_read(),
            compute,
        }
    }

    async fn run_there(
        &self,
        threads: &GuestThreads,
        contexts: Contexts,
    ) -> Result<Answer, RunError> {
        let slot = threads.slot().await?;
        let pipeline = Arc::clone(&self.pipeline);
        let guest = async move {
            let _slot = slot;
            pipeline.run_here(contexts).await
        };
        AbortOnDropHandle::new(threads.spawn(guest)).await.unwrap_or(Err(RunError::Panicked))
    }

    fn contexts(&self, request: Arc<KeyedRequest>, deadline: Instant) -> Contexts {
        let Pipeline { limits, settings, .. } = &*self.pipeline;
        Contexts {
            call: Arc::new(Call {
                deadline,
                io: self.io.clone(),
                host_calls: Arc::new(Semaphore::new(limits.max_host_calls)),
                bytes_left: AtomicUsize::new(MAX_HOST_CALL_BYTES + limits.max_answer_bytes),
                max_answer_bytes: limits.max_answer_bytes,
                untracked: Arc::new(AtomicBool::new(false)),
            }),
            request: Arc::new(request::Context::new(request)),
            embedding: Arc::clone(&self.embedding),
            collections: self.reads(),
            documents: self.writes(),
            logging: Arc::clone(&self.logging),
            settings: Arc::clone(settings),
        }
    }

    fn reads(&self) -> Arc<collections::Context> {
        let scope = &self.scopes.read;
        if scope.is_empty() {
            return Arc::clone(&self.no_reads);
        }
        Arc::new(collections::Context::new(Arc::clone(&self.tenant), scope.clone()))
    }

    fn writes(&self) -> Arc<documents::Context> {
        let scope = &self.scopes.write;
        if scope.is_empty() {
            return Arc::clone(&self.no_writes);
        }
        Arc::new(documents::Context::new(Arc::clone(&self.tenant), scope.clone()))
    }
}

impl Pipeline {
    async fn run_here(&self, contexts: Contexts) -> Result<Answer, RunError> {
        let deadline = contexts.call.deadline;
        let mut store = self.new_store(contexts);
        // Outside the guest's event loop, where it might never be polled.
        let ended = timeout_at(deadline.into(), self.call_handler(&mut store)).await;
        match ended {
            Err(_) => Err(self.deadline_exceeded()),
            Ok(Err(error)) => Err(self.what_ended(&error, &store)),
            Ok(Ok(Err(failure))) => Err(of_failure(failure)),
            Ok(Ok(Ok(response))) => {
                let body = store.data_mut().request().take_body(&response.body);
                let body = body.map_err(|error| RunError::Trapped(error.to_string()))?;
                Ok(answer::check(&response, body)?)
            }
        }
    }

    fn new_store(&self, contexts: Contexts) -> Store<GuestState> {
        let budget = MemoryBudget::new(self.limits.max_memory_bytes);
        let state = GuestState::new(budget, contexts, MAX_RESOURCES);
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.budget);
        store.set_hostcall_fuel(self.max_handed_over_bytes());
        store.set_max_component_handles(MAX_RESOURCES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|state| {
            // A guest that computes yields once per epoch, and is interrupted at the deadline
            // even if the timer outside is not polled.
            Ok(if Instant::now() >= state.data().contexts.call.deadline {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Yield(1)
            })
        });
        store
    }

    async fn call_handler(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<wit::Response, wit::Failure>> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let request = store.data_mut().request().request()?;
        match &self.handler {
            Handler::Async(indices) => {
                let handler = indices.load(&mut *store, &instance)?;
                store
                    .run_concurrent(async |accessor| handler.call_handle(accessor, request).await)
                    .await?
            }
            // Runs on a fiber, which a host call that waits suspends.
            Handler::Plain(indices) => {
                let handler = indices.load(&mut *store, &instance)?;
                handler.call_handle(store, request).await
            }
        }
    }

    fn max_handed_over_bytes(&self) -> usize {
        self.limits.max_answer_bytes + HOST_CALL_ALLOWANCE_BYTES
    }

    /// The error of a run that exceeded the deadline.
    #[must_use]
    pub fn deadline_exceeded(&self) -> RunError {
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        RunError::DeadlineExceeded { deadline_ms }
    }

    fn what_ended(&self, error: &wasmtime::Error, store: &Store<GuestState>) -> RunError {
        if let Some(BodyTooLarge { max_bytes }) = error.downcast_ref() {
            return RunError::TooLarge { max_bytes: *max_bytes };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => self.deadline_exceeded(),
            Some(Trap::StackOverflow) => RunError::StackOverflow,
            _ if store.data().budget.refused() => {
                RunError::MemoryExceeded { max_bytes: self.limits.max_memory_bytes }
            }
            _ if error.is::<PoolConcurrencyLimitError>() => RunError::NoSlot(NoSlot),
            _ if is_hostcall_fuel(error) => {
                RunError::TooLarge { max_bytes: self.max_handed_over_bytes() }
            }
            Some(trap) => RunError::Trapped(trap.to_string()),
            None => RunError::Trapped(format!("{error:#}")),
        }
    }
}

/// wasmtime has no type for this error.
fn is_hostcall_fuel(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls"))
}

fn of_failure(failure: wit::Failure) -> RunError {
    let (kind, detail) = match failure {
        wit::Failure::InvalidRequest(detail) => (FailureKind::InvalidRequest, detail),
        wit::Failure::NotFound(detail) => (FailureKind::NotFound, detail),
        wit::Failure::Denied(detail) => (FailureKind::Denied, detail),
        wit::Failure::Unavailable(detail) => (FailureKind::Unavailable, detail),
        wit::Failure::TimedOut(detail) => (FailureKind::TimedOut, detail),
        wit::Failure::Failed(detail) => (FailureKind::Failed, detail),
    };
    let code = if is_code(&detail.code) { detail.code } else { "pipeline-failed".to_owned() };
    let mut message = detail.message;
    let end = message.floor_char_boundary(MAX_FAILURE_MESSAGE_BYTES);
    message.truncate(end);
    RunError::Failure { kind, code, message }
}

/// Longer messages are truncated.
const MAX_FAILURE_MESSAGE_BYTES: usize = 4 << 10;

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}
