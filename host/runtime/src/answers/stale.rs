//! Old answers: when one is served although it is not fresh or not valid any more, and how it is made again
//! in the background.
//!
//! An answer has up to two permissions to need: one if its ttl has passed, and one if something that it read
//! has changed. If nothing has changed, it is exact at the same position as a hit, and only its ttl is over.
//! Otherwise it states the position that it was made at.
//!
//! A refresh is a flight that nobody follows at first. It takes one of the runs that a pipeline may have
//! without anybody waiting for them; if all are in use, the answer is not refreshed this time. Out of
//! scope: what an answer is allowed (its lifetime, which its policy has decided).

use std::sync::Arc;
use std::time::Instant;

use weir_cache::single_flight::Flight;

use super::flight::{Attended, Shared};
use super::{Answers, Question, Served, Stale, Via, stated_if_valid};
use crate::tenant::reading::{Demand, Stated};

/// In which case an old answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// A new one is about to be made, and nobody needs to wait for it.
    AtOnce,
    /// A new one could not be made, or not soon enough.
    OnError,
}

impl Answers {
    /// The old answer of the memory tier, if it may be served in this case.
    pub(super) fn stale(&self, question: Question<'_>, when: When) -> Option<Served> {
        let tenant = question.tenant();
        let entry = self.memory.get_kept(&question.key)?;
        let (now, lifetime) = (Instant::now(), &entry.lifetime);
        let age = entry.age(now);
        let ttl_left = entry.remaining_ttl(now);
        let overdue = age.saturating_sub(lifetime.ttl);
        let allowed = match when {
            When::AtOnce => lifetime.stale_while_revalidate,
            When::OnError => lifetime.stale_if_error,
        };
        if ttl_left.is_zero() && overdue >= allowed {
            return None;
        }
        // What is old is no answer to a client that wants a new one, unless there is none.
        if when == When::AtOnce && !question.wishes.freshness.allows(age) {
            return None;
        }
        let is_valid = || entry.is_valid(&tenant.tags);
        let (stated, reason) = match stated_if_valid(tenant, entry.depends_on.reads(), is_valid) {
            // It has become a hit in the meantime.
            Some(_) if !ttl_left.is_zero() => return None,
            Some(stated) => {
                let reason = match when {
                    When::AtOnce => Stale::WhileRevalidate,
                    When::OnError => Stale::IfError,
                };
                (stated, reason)
            }
            None => {
                let changed_since = entry.changed_since(&tenant.tags, now)?;
                if changed_since >= lifetime.stale_after_change {
                    return None;
                }
                (entry.as_of, Stale::AfterChange)
            }
        };
        if stated.position < question.demand.at_least {
            return None;
        }
        let via = Via::Stale { age, ttl_left, overdue, reason };
        let answer = Arc::clone(&entry.value);
        Some(Served { answer, stated: Stated::At(stated), searchable: None, via })
    }

    /// Has a new answer made in the background, unless that is being done, or was tried in vain a
    /// moment ago.
    pub(super) fn refresh(self: &Arc<Self>, question: Question<'_>, shared: Shared) {
        if self.refreshed_in_vain.contains(&question.key) {
            return;
        }
        let unattended = Arc::clone(&question.deployment.runner.unattended);
        let Ok(_run) = unattended.try_acquire_owned() else { return };
        let Flight::Lead(leader) = self.flights.join(question.key) else { return };
        // A client's demand is its own.
        let demand = Demand { patience: question.demand.patience, ..Demand::default() };
        let question = Question { demand, ..question };
        let flight = self.departing(leader, question, Attended::ByNobody { _run }, shared);
        drop(self.detached.spawn(flight.fly()));
    }
}

/// A number in (0, 1].
pub(super) fn random() -> f64 {
    1.0 - rand::random::<f64>()
}
