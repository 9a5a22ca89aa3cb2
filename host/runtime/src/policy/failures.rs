//! The hook `failures`: what follows when a pipeline fails. Out of scope: who is given what
//! (`answers`).

use std::sync::Arc;
use std::time::Duration;

use weir_bindings::policy::exports::weir::policy::failures;
use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::reads::ReadSet;

use super::component::{Policy, RequestView, reads};
use super::error::PolicyError;
use super::plan::failure_ttl;
use super::sandbox::Sandbox;
use crate::engine::guests::PipelineGuests;
use crate::engine::slots::NoSlot;
use crate::pipeline::RunError;
use crate::pipeline::error::FailureKind;

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aftermath {
    /// Whether an old answer may be served instead, as far as its lifetime allows.
    pub serve_stale: bool,
    /// How long the failure is kept, if it is.
    pub keep: Option<Duration>,
}

impl Policy {
    /// Whether the component decides what follows a failure.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.failures.is_some()
    }

    /// Asks `failures`, in one of the pipeline's slots for decisions. Without it, the plan decides.
    ///
    /// # Errors
    /// No slot became free in time, or, the inner error, the policy failed.
    pub async fn follow(
        self: &Arc<Self>,
        guests: &PipelineGuests,
        RequestView(view): RequestView,
        error: &RunError,
        compute: Duration,
        read: &ReadSet,
    ) -> Result<Result<Aftermath, PolicyError>, NoSlot> {
        let (Some(indices), Some(failure)) = (self.failures.clone(), to_wit(error, compute, read))
        else {
            return Ok(Ok(Aftermath { serve_stale: true, keep: self.plan.failure_ttl }));
        };
        let (policy, budget) = (Arc::clone(self), Sandbox::budget(guests));
        let decision = || async move {
            let decision = policy.sandbox.decide(budget, async |store, instance| {
                indices.load(&mut *store, instance)?.call_follow(store, &view, &failure).await
            });
            policy.followed(decision.await)
        };
        Ok(guests.decide(decision).await?.ended().await.unwrap_or_else(|| Err(self.panicked())))
    }

    fn followed(
        &self,
        decision: wasmtime::Result<failures::Decision>,
    ) -> Result<Aftermath, PolicyError> {
        let failures::Decision { serve_stale, keep_ms } =
            decision.map_err(|error| self.has_failed(&error))?;
        let keep = failure_ttl("keep-ms", keep_ms)
            .map_err(|error| PolicyError::Plan { name: self.name.clone(), error })?;
        Ok(Aftermath { serve_stale, keep })
    }
}

/// `None` if the request was refused, rather than that the pipeline failed.
fn to_wit(error: &RunError, compute: Duration, read: &ReadSet) -> Option<wit::Failure> {
    use wit::FailureKind as Kind;
    let kind = match error {
        RunError::Failure { kind, .. } => match kind {
            FailureKind::InvalidRequest => Kind::InvalidRequest,
            FailureKind::NotFound => Kind::NotFound,
            FailureKind::Denied => Kind::Denied,
            FailureKind::Unavailable => Kind::Unavailable,
            FailureKind::TimedOut => Kind::TimedOut,
            FailureKind::Failed => Kind::Failed,
        },
        RunError::DeadlineExceeded { .. } => Kind::DeadlineExceeded,
        RunError::MemoryExceeded { .. } | RunError::StackOverflow => Kind::MemoryExceeded,
        RunError::Trapped(_) => Kind::Trapped,
        RunError::InvalidAnswer(_) | RunError::TooLarge { .. } => Kind::InvalidAnswer,
        RunError::Panicked => Kind::HostFailed,
        RunError::NoSlot(_)
        | RunError::NoMemory
        | RunError::NotCached
        | RunError::PositionNotReached { .. }
        | RunError::PositionNotAvailable => return None,
    };
    let code = match error {
        RunError::Failure { code, .. } => Some(code.clone()),
        _ => None,
    };
    let compute_ms = u32::try_from(compute.as_millis()).unwrap_or(u32::MAX);
    Some(wit::Failure { kind, code, compute_ms, reads: reads(read) })
}
