//! Whether an administrator has invalidated an answer: the names under which a rule can cover it.
//!
//! They are made of the request, and of what the answer has read, only when a rule is newer than the
//! answer. Out of scope: rules (`weir_cache::invalidation`), and invalidated tags, which the answer's
//! cells show.

use std::time::{Duration, Instant};

use weir_cache::CacheKey;
use weir_cache::entry::Entry;
use weir_cache::invalidation::{Label, UnknownSince};
use weir_cache::reads::ReadSet;
use weir_core::Position;
use weir_core::name::Name;

use crate::policy::Plan;
use crate::request::Source;
use crate::tenant::invalidation::Ended;
use crate::tenant::invalidation::what;

/// The labels that all answers to a request have.
#[derive(Clone)]
pub(crate) struct Labels(Vec<Label>);

impl Labels {
    pub(crate) fn of(key: &CacheKey, pipeline: &Name, plan: &Plan, source: &Source<'_>) -> Self {
        let mut labels = vec![what::everything(), what::pipeline(pipeline), what::key(key)];
        let parts = plan.first_parts(source, what::MAX_PREFIX_PARTS);
        let parts: Vec<_> = parts.iter().map(|part| part.as_deref()).collect();
        for length in 1..=parts.len() {
            if parts[length - 1].is_some_and(|part| part.len() > what::MAX_PART_BYTES) {
                // No rule has such a part.
                break;
            }
            labels.push(what::prefix(pipeline, &parts[..length]));
        }
        Self(labels)
    }

    /// With those of an answer that was made from `reads`.
    fn with(mut self, reads: &ReadSet) -> Vec<Label> {
        self.0.extend(reads.collections().map(what::collection));
        self.0
    }
}

/// Whether what was made from `reads` at this position has been invalidated since by a rule.
pub(crate) fn is_invalidated(
    ended: &Ended,
    reads: &ReadSet,
    as_of: Position,
    labels: impl FnOnce() -> Labels,
) -> bool {
    let rules = &ended.rules;
    rules.newest() > as_of && rules.cover(&labels().with(reads), as_of)
}

/// Whether nothing that an entry depends on has changed, and it was not invalidated, since it was made.
pub(crate) fn is_valid<V>(
    entry: &Entry<V>,
    ended: &Ended,
    labels: impl FnOnce() -> Labels,
) -> bool {
    let (reads, as_of) = (entry.depends_on.reads(), entry.as_of.position);
    entry.is_valid(&ended.tags) && !is_invalidated(ended, reads, as_of, labels)
}

/// For how long an entry has been outdated: something that it depends on has changed since, or it was
/// invalidated. `None` if it is not.
///
/// # Errors
/// Nobody may know that any more, so it must not be served.
pub(crate) fn outdated_for<V>(
    entry: &Entry<V>,
    ended: &Ended,
    labels: impl FnOnce() -> Labels,
    now: Instant,
) -> Result<Option<Duration>, UnknownSince> {
    let tags = &ended.tags;
    let changed_for = match entry.is_valid(tags) {
        true => None,
        false => Some(entry.changed_since(tags, now).ok_or(UnknownSince)?),
    };
    let (reads, as_of) = (entry.depends_on.reads(), entry.as_of.position);
    Ok(changed_for.max(invalidated_for(ended, reads, as_of, labels, now)?))
}

/// For how long what was made from `reads` at this position has been invalidated, if it is.
///
/// # Errors
/// Nobody may know that any more, so it must not be served.
fn invalidated_for(
    ended: &Ended,
    reads: &ReadSet,
    as_of: Position,
    labels: impl FnOnce() -> Labels,
    now: Instant,
) -> Result<Option<Duration>, UnknownSince> {
    let rules = &ended.rules;
    if rules.newest() <= as_of {
        return Ok(None);
    }
    let first = rules.first_after(&labels().with(reads), as_of)?;
    Ok(first.map(|first| now.saturating_duration_since(first)))
}
