//! One call of a component: a fresh store, a deadline, and an outcome that says what ended it.
//! Out of scope: what the call reads, and whether it is done again (`runner`).

use std::time::Instant;

use tokio::time::timeout_at;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use weir_bindings::pipeline::weir::pipeline::types as wit;

use super::answer::{self, Answer, Head};
use super::error::{FailureKind, RunError};
use super::load::{HandlerParameters, HandlerResults, Pipeline};
use crate::capability::body::BodyTooLarge;
use crate::capability::guest::{Contexts, GuestState};
use crate::engine::memory::{MemoryBudget, Refused};
use crate::engine::slots::NoSlot;

/// The most handles that a guest may hold at once.
const MAX_RESOURCES: usize = 10_000;
/// The most bytes of strings and lists that one host call may receive, in addition to those of an
/// answer.
const HOST_CALL_ALLOWANCE_BYTES: usize = 1 << 20;

impl Pipeline {
    /// Runs the pipeline in a fresh store on this thread.
    pub(super) async fn run_here(
        &self,
        contexts: Contexts,
        budget: MemoryBudget,
    ) -> Result<Answer, RunError> {
        let deadline = contexts.call.deadline;
        let mut store = self.new_store(contexts, budget);
        // Outside the guest's event loop, where it might never be polled.
        let ended = timeout_at(deadline.into(), self.call_handler(&mut store)).await;
        match ended {
            Err(_) => Err(self.deadline_exceeded()),
            Ok(Err(error)) => Err(self.what_ended(&error, &store)),
            Ok(Ok(Err(failure))) => Err(of_failure(failure)),
            Ok(Ok(Ok(response))) => {
                let body = store.data_mut().request().take_body(&response.body);
                let body = body.map_err(|error| RunError::Trapped(error.to_string()))?;
                let wit::Response { status, content_type, headers, .. } = response;
                let head = Head { status, content_type, headers };
                Ok(answer::check(&head, self.allowed, body)?)
            }
        }
    }

    fn new_store(&self, contexts: Contexts, budget: MemoryBudget) -> Store<GuestState> {
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
        let handler = instance
            .get_typed_func::<HandlerParameters, HandlerResults>(&mut *store, self.handler)?;
        // Not by way of an `Accessor`: a guest that waits for nothing would wait until its deadline
        // there. Here, it ends with `AsyncDeadlock`.
        let (outcome,) = handler.call_async(store, (request,)).await?;
        Ok(outcome)
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
        match (error.downcast_ref::<Trap>(), store.data().budget.refused()) {
            (Some(Trap::Interrupt), _) => self.deadline_exceeded(),
            (Some(Trap::StackOverflow), _) => RunError::StackOverflow,
            (_, Some(Refused::Budget)) => {
                RunError::MemoryExceeded { max_bytes: self.limits.max_memory_bytes }
            }
            (_, Some(Refused::TooOften)) => {
                RunError::Trapped("its memory has grown too often".to_owned())
            }
            (_, Some(Refused::Crowded)) => RunError::NoMemory,
            _ if error.is::<PoolConcurrencyLimitError>() => RunError::NoSlot(NoSlot),
            _ if is_hostcall_fuel(error) => {
                RunError::TooLarge { max_bytes: self.max_handed_over_bytes() }
            }
            (Some(trap), None) => RunError::Trapped(trap.to_string()),
            (None, None) => RunError::Trapped(format!("{error:#}")),
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
