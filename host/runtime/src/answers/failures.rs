//! What follows when a pipeline fails: whether the failure is kept, so that the pipeline is not run again
//! for each request, and whether an old answer may be served instead.
//!
//! A kept failure was made from what the pipeline had read by then, as an answer is, so it ends when that
//! changes, and otherwise with its ttl. It stays in memory. What says that a request was refused is no
//! failure of the pipeline, and is never kept. Out of scope: what is served instead (`stale`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;
use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::lifetime::Lifetime;
use weir_cache::reads::Dependencies;

use super::made::Made;
use super::served::Failure;
use super::{Answers, Failed, Kept, Question, stated_if_valid};
use crate::deploy::Deployment;
use crate::engine::guests::PipelineGuests;
use crate::invalidated::is_valid;
use crate::pipeline::{Run, RunError};
use crate::policy::component::RequestView;
use crate::policy::{Aftermath, Policy};
use crate::request::{RequestId, Source};
use crate::tenant::reading::Stated;

/// The policy that decides what follows.
pub(super) struct Asked<'a> {
    pub(super) policy: &'a Arc<Policy>,
    pub(super) guests: &'a PipelineGuests,
    pub(super) view: RequestView,
    pub(super) request_id: &'a RequestId,
}

impl Asked<'_> {
    /// What a run has failed with, and how long that is kept, if it is.
    pub(super) async fn about(self, error: RunError, run: &Run) -> (Failure, Option<Duration>) {
        let Self { policy, guests, view, request_id } = self;
        let followed = policy.follow(guests, view, &error, run.compute, &run.reads).await;
        let reason = match followed {
            Ok(Ok(Aftermath { serve_stale, keep })) => {
                let may_be_covered = serve_stale && error.may_be_covered();
                return (Failure { error, may_be_covered }, keep);
            }
            Ok(Err(failed)) => failed.to_string(),
            Err(no_slot) => no_slot.to_string(),
        };
        let (policy, request_id) = (policy.name.as_str(), request_id.as_str());
        warn!(policy, request_id, error = reason, "the failure is not kept");
        (Failure { may_be_covered: error.may_be_covered(), error }, None)
    }
}

/// What a run for one request only has failed with. Nobody can be given an old answer where the cache is
/// bypassed, so nobody is asked.
pub(super) async fn of_run_alone(
    deployment: &Deployment,
    source: &Source<'_>,
    run: &Run,
    error: RunError,
) -> Failure {
    match deployment.policy.as_ref().filter(|policy| policy.has_failures()) {
        Some(policy) if !deployment.pipeline().writes => {
            let view = policy.view(&deployment.tenant().name, deployment.name(), source);
            let guests = &deployment.runner.guests;
            let (failure, _) =
                Asked { policy, guests, view, request_id: source.id }.about(error, run).await;
            failure
        }
        _ => Failure { may_be_covered: error.may_be_covered(), error },
    }
}

impl Answers {
    /// Keeps a failure for `ttl`.
    pub(super) fn keep_failure(
        &self,
        key: CacheKey,
        failure: &Failure,
        made: &Arc<Made>,
        compute: Duration,
        ttl: Duration,
    ) {
        let error = &failure.error;
        if error.is_refusal() || made.cells.changed_after(made.as_of.position) {
            return;
        }
        let entry = Entry {
            value: failure.clone(),
            as_of: made.as_of,
            reads: made.cells.clone(),
            depends_on: Dependencies::new(made.reads.clone(), Vec::new()),
            stored_at: Moment::now(),
            compute,
            lifetime: Lifetime::of(ttl),
            weight_bytes: error.text_bytes(),
        };
        // One that is too large is not kept.
        let _ = self.failures.insert(key, entry);
    }

    /// The failure that a request gets without a run, if one is kept and nothing has changed since.
    pub(super) fn kept_failure(&self, question: &Question<'_>) -> Option<Failed> {
        let longest = match question.policy.plan.failure_ttl {
            _ if question.policy.has_failures() => Duration::MAX,
            longest => longest?,
        };
        let tenant = question.tenant();
        let entry = self.failures.get(&question.key)?;
        let is_valid = || is_valid(&entry, &tenant.ended, || question.labels());
        let stated = stated_if_valid(tenant, entry.depends_on.reads(), is_valid)?;
        if stated.position < question.demand.at_least {
            return None;
        }
        let now = Instant::now();
        let (age, ttl) = (entry.age(now), entry.lifetime.ttl.min(longest));
        if age >= ttl || !question.wishes.freshness.allows(age) {
            return None;
        }
        let kept = Kept { age, ttl_left: ttl - age };
        let failed = Failed::from(entry.value.clone()).at(|| Stated::At(stated));
        Some(Failed { kept: Some(kept), ..failed })
    }
}
