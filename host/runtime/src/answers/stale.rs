//! Old answers: when one is served although it is not fresh or not valid any more.
//!
//! An answer has up to two permissions to need: one if its ttl has passed, and one if something that it read
//! has changed. If nothing has changed, it is exact at the same position as a hit, and only its ttl is over.
//! Otherwise it states the position that it was made at.
//!
//! Out of scope: what an answer is allowed (its lifetime, which its policy has decided), and how it is made
//! again (`refresh`).

use std::sync::Arc;
use std::time::Instant;

use weir_cache::CacheKey;
use weir_cache::entry::Entry;

use super::made::Origin;
use super::{Answers, Question, Served, Stale, StoredAnswer, Via, stated_if_valid};
use crate::deploy::Deployment;
use crate::invalidated::{Labels, is_valid, outdated_for};
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
    /// The old answer to a question, if it may be served in this case.
    pub(super) fn stale(&self, question: Question<'_>, when: When) -> Option<Served> {
        let Question { key, deployment, demand, .. } = question;
        let labels = || question.labels();
        let served = self.stale_under(&key, deployment, demand, labels, when)?;
        // What is old is no answer to a client that wants a new one, unless there is none.
        let will_do = when == When::OnError || question.wishes.freshness.allows(served.age());
        will_do.then_some(served)
    }

    /// The old answer that the memory tier has under this key, if it may be served in this case.
    pub(super) fn stale_under(
        &self,
        key: &CacheKey,
        deployment: &Deployment,
        demand: Demand,
        labels: impl Fn() -> Labels,
        when: When,
    ) -> Option<Served> {
        let entry = self.memory.get_kept(key)?;
        let served = self.stale_entry(&entry, deployment, demand, labels, when)?;
        Some(Served { origin: Origin::Entry(entry), ..served })
    }

    /// An old answer, if it may be served in this case.
    pub(super) fn stale_entry(
        &self,
        entry: &Entry<Arc<StoredAnswer>>,
        deployment: &Deployment,
        demand: Demand,
        labels: impl Fn() -> Labels,
        when: When,
    ) -> Option<Served> {
        let (now, tenant) = (Instant::now(), deployment.tenant());
        let lifetime = entry.lifetime.within(&deployment.longest.memory);
        let age = entry.age(now);
        let ttl_left = lifetime.ttl.saturating_sub(age);
        let overdue = age.saturating_sub(lifetime.ttl);
        let allowed = match when {
            When::AtOnce => lifetime.stale_while_revalidate,
            When::OnError => lifetime.stale_if_error,
        };
        let is_valid = || is_valid(entry, &tenant.ended, &labels);
        let (stated, reason) = match stated_if_valid(tenant, entry.depends_on.reads(), is_valid) {
            Some(stated) => {
                // Otherwise it has become a hit in the meantime.
                if !lifetime.allows_old(age, allowed, None) {
                    return None;
                }
                let reason = match when {
                    When::AtOnce => Stale::WhileRevalidate,
                    When::OnError => Stale::IfError,
                };
                (stated, reason)
            }
            None => {
                // Neither, if some of what it read lags behind.
                let outdated_for = outdated_for(entry, &tenant.ended, &labels, now).ok()??;
                if !lifetime.allows_old(age, allowed, Some(outdated_for)) {
                    return None;
                }
                (entry.as_of, Stale::AfterChange)
            }
        };
        if stated.position < demand.at_least {
            return None;
        }
        let via = Via::Stale { age, ttl_left, overdue, reason };
        let answer = Arc::clone(&entry.value);
        Some(Served {
            answer,
            stated: Stated::At(stated),
            searchable: None,
            via,
            origin: Origin::Unknown,
        })
    }
}
