//! One call of a pipeline: a fresh store, one deadline, and an outcome that is told apart by
//! what ended it. Runs on the guests' threads. Left out: the cache around it (`serving`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::ResourceTable;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use weir_backends::Position;
use weir_backends::name::Name;
use weir_bindings::pipeline::weir::pipeline::types as wit;
use weir_cache::tag::Tag;

use super::answer::{self, Answer, AnswerError};
use super::call::{Call, GuestState, Services};
use super::load::Deployment;
use super::request::{KeyedRequest, PartsRead};
use crate::capability::vector::FoundHits;
use crate::engine::limits::MemoryBudget;
use crate::engine::threads::{GuestThreads, NoPlace};

/// Handles that a guest may hold at once.
const MAX_RESOURCES: usize = 10_000;
/// Bytes that one request may hand to the host in all of its host calls.
const MAX_HOST_CALL_BYTES: usize = 64 << 20;
/// Strings and lists of one host call, beside the answer's own bytes.
const HOST_CALL_ALLOWANCE_BYTES: usize = 1 << 20;

/// Why a run has no answer.
#[derive(Clone, Debug, Error)]
pub enum RunError {
    /// No guest's place became free in time.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// The deadline passed: in the guest, in a host call, or while it waited.
    #[error("the pipeline took longer than its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The deployment's deadline.
        deadline_ms: u64,
    },
    /// It asked for more memory than it may have, and did not survive the refusal.
    #[error("the pipeline asked for more than {max_bytes} bytes of memory")]
    MemoryExceeded {
        /// The deployment's limit.
        max_bytes: usize,
    },
    /// Its calls are nested deeper than its stack.
    #[error("the pipeline's stack overflowed")]
    StackOverflow,
    /// It trapped.
    #[error("the pipeline trapped: {0}")]
    Trapped(String),
    /// It answered, but not with an answer.
    #[error("the pipeline's answer is not valid: {0}")]
    InvalidAnswer(AnswerError),
    /// Its answer, or what it handed to a host call, is over the limit.
    #[error("the pipeline handed over more than {max_bytes} bytes at once")]
    TooLarge {
        /// The limit of one call.
        max_bytes: usize,
    },
    /// It refused or failed by its own account.
    #[error("the pipeline answered {kind:?} ({code}): {message}")]
    Failure {
        /// What kind of failure.
        kind: FailureKind,
        /// Its own stable code.
        code: String,
        /// For the client.
        message: String,
    },
    /// The host panicked.
    #[error("the host failed while it ran the pipeline")]
    Panicked,
}

/// WIT's `failure`, one status each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong.
    InvalidRequest,
    /// What it asks for is not there.
    NotFound,
    /// It may not be asked.
    Denied,
    /// Something that the pipeline needs is not there now.
    Unavailable,
    /// Something that the pipeline needs took too long.
    TimedOut,
    /// The pipeline failed.
    Failed,
}

/// One run: how it ended, and what it had read by then. An error is as much a result of what
/// was read as an answer.
#[derive(Clone, Debug)]
pub struct Run {
    /// The answer, or what came in its place.
    pub outcome: Result<Answer, RunError>,
    /// The position that it is exact at; that of its last write, where it wrote.
    pub as_of: Position,
    /// The collections that were read, found or not.
    pub collections: Vec<Name>,
    /// The tags of everything that was read.
    pub tags: Vec<Tag>,
    /// The parts of the request that were read.
    pub parts: PartsRead,
    /// How long the guest took.
    pub compute: Duration,
}

impl Deployment {
    /// Runs the pipeline on the guests' threads and waits for it. Dropping the future ends
    /// the run.
    pub async fn run(
        self: &Arc<Self>,
        threads: &GuestThreads,
        services: &Arc<Services>,
        request: Arc<KeyedRequest>,
    ) -> Run {
        let began = Instant::now();
        let call = Arc::new(self.new_call(services, request, began + self.deadline));
        let outcome = self.run_there(threads, &call).await;
        let compute = began.elapsed();
        self.counters.ran(outcome.as_ref().err(), compute);
        Run {
            outcome,
            as_of: call.position(),
            collections: call.collections_read(),
            tags: call.tags(),
            parts: call.parts_read(),
            compute,
        }
    }

    async fn run_there(
        self: &Arc<Self>,
        threads: &GuestThreads,
        call: &Arc<Call>,
    ) -> Result<Answer, RunError> {
        let place = threads.place().await?;
        let (deployment, call) = (Arc::clone(self), Arc::clone(call));
        let guest = async move {
            let _place = place;
            deployment.run_here(&call).await
        };
        AbortOnDropHandle::new(threads.spawn(guest)).await.unwrap_or(Err(RunError::Panicked))
    }

    async fn run_here(&self, call: &Arc<Call>) -> Result<Answer, RunError> {
        let mut store = self.new_store(call);
        // Outside of the guest's own event loop: inside, it might never be polled.
        let ended = timeout_at(call.deadline.into(), self.call_handler(&mut store)).await;
        match ended {
            Err(_) => Err(self.deadline_exceeded()),
            Ok(Err(error)) => Err(self.what_ended(&error, &store)),
            Ok(Ok(Err(failure))) => Err(of_failure(failure)),
            Ok(Ok(Ok(mut response))) => {
                let nothing = wit::Body::Bytes(Vec::new());
                let body = std::mem::replace(&mut response.body, nothing);
                let body = self.body(&mut store, body)?;
                Ok(answer::check(&response, body)?)
            }
        }
    }

    fn new_call(
        &self,
        services: &Arc<Services>,
        request: Arc<KeyedRequest>,
        deadline: Instant,
    ) -> Call {
        // Before the first read: the tags' position first, so that what the engine has
        // applied can only be newer than what is claimed.
        let as_of = services.tags.latest().min(services.vectors.applied());
        Call {
            pipeline: self.name.clone(),
            settings: Arc::clone(&self.settings),
            request,
            deadline,
            services: Arc::clone(services),
            host_calls: Arc::new(Semaphore::new(self.limits.max_host_calls)),
            bytes_left: AtomicUsize::new(MAX_HOST_CALL_BYTES),
            as_of,
            wrote_at: AtomicU64::new(0),
            parts: Default::default(),
            collections: Default::default(),
            untracked: Arc::new(AtomicBool::new(self.untracked)),
        }
    }

    fn new_store(&self, call: &Arc<Call>) -> Store<GuestState> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let state = GuestState {
            budget: MemoryBudget::new(self.limits.max_memory_bytes),
            table,
            call: Arc::clone(call),
            wasi: None,
        };
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.budget);
        store.set_hostcall_fuel(self.max_handed_over_bytes());
        store.set_max_component_handles(MAX_RESOURCES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|state| {
            // A guest that computes gives way once an epoch, and ends at the deadline even
            // if nothing polls the timer outside.
            Ok(if Instant::now() >= state.data().call.deadline {
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
        let request = store.data_mut().request()?;
        store
            .run_concurrent(async |accessor| {
                instance.weir_pipeline_handler().call_handle(accessor, request).await
            })
            .await?
    }

    fn body(
        &self,
        store: &mut Store<GuestState>,
        body: wit::Body,
    ) -> Result<bytes::Bytes, RunError> {
        let max_bytes = self.limits.max_answer_bytes;
        match body {
            wit::Body::Bytes(bytes) => Ok(answer::plain_body(bytes, max_bytes)?),
            wit::Body::Hits(body) => {
                let hits: FoundHits = store
                    .data_mut()
                    .take_hits(&body.hits)
                    .map_err(|error| RunError::Trapped(error.to_string()))?;
                Ok(answer::hits_body(&hits, &body.members, max_bytes)?)
            }
        }
    }

    fn max_handed_over_bytes(&self) -> usize {
        self.limits.max_answer_bytes + HOST_CALL_ALLOWANCE_BYTES
    }

    /// The error of a run that did not end in time.
    #[must_use]
    pub fn deadline_exceeded(&self) -> RunError {
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        RunError::DeadlineExceeded { deadline_ms }
    }

    fn what_ended(&self, error: &wasmtime::Error, store: &Store<GuestState>) -> RunError {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => self.deadline_exceeded(),
            Some(Trap::StackOverflow) => RunError::StackOverflow,
            _ if store.data().budget.refused() => {
                RunError::MemoryExceeded { max_bytes: self.limits.max_memory_bytes }
            }
            _ if error.is::<PoolConcurrencyLimitError>() => RunError::NoPlace(NoPlace),
            _ if is_hostcall_fuel(error) => {
                RunError::TooLarge { max_bytes: self.max_handed_over_bytes() }
            }
            Some(trap) => RunError::Trapped(trap.to_string()),
            None => RunError::Trapped(format!("{error:#}")),
        }
    }
}

/// wasmtime gives this error no type of its own.
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

/// Longer messages are cut.
const MAX_FAILURE_MESSAGE_BYTES: usize = 4 << 10;

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

impl From<AnswerError> for RunError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::TooLarge { max_bytes, .. } => Self::TooLarge { max_bytes },
            error => Self::InvalidAnswer(error),
        }
    }
}

impl RunError {
    /// A short stable name, for counters.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoPlace(_) => "no-place",
            Self::DeadlineExceeded { .. } => "deadline-exceeded",
            Self::MemoryExceeded { .. } => "memory-exceeded",
            Self::StackOverflow => "stack-overflow",
            Self::Trapped(_) => "trapped",
            Self::InvalidAnswer(_) => "invalid-answer",
            Self::TooLarge { .. } => "too-large",
            Self::Failure { .. } => "failure",
            Self::Panicked => "panicked",
        }
    }
}
