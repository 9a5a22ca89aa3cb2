//! Kept failures: a pipeline that fails is not run again for each request, if its policy says so.
//!
//! A failure was made from what the pipeline had read by then, as an answer is, so it ends when that
//! changes, and otherwise with its ttl. It stays in memory. What says that a request was refused is no
//! failure of the pipeline, and is never kept. Out of scope: what is served instead (`stale`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::lifetime::Lifetime;
use weir_cache::reads::Dependencies;

use super::invalidated::is_valid;
use super::made::Made;
use super::{Answers, Failed, Kept, Question, stated_if_valid};
use crate::pipeline::RunError;
use crate::tenant::reading::Stated;

impl Answers {
    /// Keeps a failure for `ttl`.
    pub(super) fn keep_failure(
        &self,
        key: CacheKey,
        error: &RunError,
        made: &Arc<Made>,
        compute: Duration,
        ttl: Duration,
    ) {
        if error.is_refusal() || made.cells.changed_after(made.as_of.position) {
            return;
        }
        let entry = Entry {
            value: error.clone(),
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
        question.policy.plan.failure_ttl?;
        let tenant = question.tenant();
        let entry = self.failures.get(&question.key)?;
        let is_valid = || is_valid(&entry, tenant, || question.labels());
        let stated = stated_if_valid(tenant, entry.depends_on.reads(), is_valid)?;
        if stated.position < question.demand.at_least {
            return None;
        }
        let now = Instant::now();
        if !question.wishes.freshness.allows(entry.age(now)) {
            return None;
        }
        let kept = Kept { age: entry.age(now), ttl_left: entry.remaining_ttl(now) };
        let failed = Failed::of(entry.value.clone(), || Stated::At(stated));
        Some(Failed { kept: Some(kept), ..failed })
    }
}
