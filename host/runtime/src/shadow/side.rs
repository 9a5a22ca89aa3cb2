//! One of the two policies: what it makes of each request, and what would be in its memory tier.
//!
//! A request for which the tier has no hit is followed by a run, as far as the policy stores what it would answer:
//! that is what the request was answered with, made from the same, and taking as long. So both policies are
//! simulated alike, from an empty tier on. Out of scope: what the two differ in (`compare`).

use std::time::Instant;

use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::key::KeyBuilder;
use weir_cache::memory::NotStored;
use weir_cache::reads::Dependencies;
use weir_cache::tag::Tag;

use super::counts::{Counts, How};
use super::decides::Decides;
use super::event::{Answered, Basis, Ended, Event};
use super::tiers::{Simulated, Tiers};
use crate::invalidated::{Labels, is_valid, outdated_for};
use crate::policy::component::Outcome;
use crate::policy::plan::Storage;
use crate::policy::{Admission, Keying};
use crate::request::{Coverage, Source};

/// The policy does not want an answer stored.
const REFUSED: &str = "policy";

/// A policy, and what it would have in memory.
pub(super) struct Side<D> {
    pub(super) policy: D,
    pub(super) tiers: Tiers,
    pub(super) counts: Counts,
    /// What the keys of the deployed policy contain: what an answer depends on that it has stored.
    covered_at_most: Coverage,
}

/// What a policy has made of a request.
#[derive(Default)]
pub(super) struct Decision {
    /// Its key; `None` if it bypasses the cache, or has failed.
    pub(super) key: Option<CacheKey>,
    /// What `keying` has added to it.
    pub(super) added_parts: Vec<String>,
    /// What the tier had.
    pub(super) found: Option<Found>,
    /// The tags that it has added, if it has stored an answer.
    pub(super) tags: Option<Vec<Tag>>,
}

/// An answer that a tier had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) how: How,
    pub(super) validator: u128,
    pub(super) deployed_key: Option<CacheKey>,
    /// Whether it is to be made again.
    refresh: bool,
}

impl<D: Decides> Side<D> {
    /// A policy whose simulated entries really take at most about `max_bytes`.
    pub(super) fn new(policy: D, deployed: &Coverage, max_bytes: u64) -> Self {
        Self {
            policy,
            tiers: Tiers::new(max_bytes),
            counts: Counts::default(),
            covered_at_most: deployed.clone(),
        }
    }

    /// Decides about a request that has ended. `deployed_key` is the deployed policy's key of it.
    pub(super) async fn decide(
        &mut self,
        event: &Event,
        source: &Source<'_>,
        deployed_key: impl FnOnce(&CacheKey) -> Option<CacheKey>,
    ) -> Decision {
        let Some((key, added_parts)) = self.key(event, source).await else {
            return Decision::default();
        };
        let mut decision = Decision { key: Some(key), added_parts, found: None, tags: None };
        if !self.tiers.has(&key) {
            return decision;
        }
        decision.found = self.look_up(event, source, &key);
        let many = self.tiers.each_stands_for();
        self.counts.looked_up(decision.found.map(|found| found.how), event, many);
        if decision.found.is_none_or(|found| found.refresh) && event.answer.is_some() {
            let deployed_key = deployed_key(&key);
            match self.store(event, source, key, deployed_key).await {
                Ok(tags) => decision.tags = Some(tags),
                Err(reason) => self.counts.not_stored(reason),
            }
        }
        decision
    }

    /// The key, and what `keying` has added to it.
    async fn key(&mut self, event: &Event, source: &Source<'_>) -> Option<(CacheKey, Vec<String>)> {
        let mut key = KeyBuilder::new(&event.prefix);
        self.policy.plan().hash(source, &mut key);
        let view = || self.policy.view(&event.tenant, &event.pipeline, source);
        let Some(apart) = self.policy.key(view).await else {
            return Some((key.finish(), Vec::new()));
        };
        self.counts.cost(apart.took, apart.fuel);
        match apart.decided {
            Ok(Keying::Parts(parts)) => {
                for part in &parts {
                    key.part(part.as_bytes());
                }
                Some((key.finish(), parts))
            }
            Ok(Keying::Bypass(_)) => {
                self.counts.bypassed += 1;
                None
            }
            Err(failed) => {
                self.counts.failed("keying", &failed);
                None
            }
        }
    }

    /// What the tier has for a request.
    fn look_up(&self, event: &Event, source: &Source<'_>, key: &CacheKey) -> Option<Found> {
        let entry = self.tiers.get(&event.tenant, key)?;
        let (how, refresh) = self.judge(event, source, key, &entry)?;
        let Simulated { validator, deployed_key, .. } = entry.value;
        Some(Found { how, validator, deployed_key, refresh })
    }

    fn judge(
        &self,
        event: &Event,
        source: &Source<'_>,
        key: &CacheKey,
        entry: &Entry<Simulated>,
    ) -> Option<(How, bool)> {
        let (age, lifetime) = (entry.age(event.began), entry.lifetime);
        let labels = || Labels::of(key, &event.pipeline, self.policy.plan(), source);
        let ended = &event.ended_answers;
        let is_valid = is_valid(entry, ended, labels);
        if is_valid && entry.stored_at.monotonic > event.began {
            return Some((How::Collapsed, false));
        }
        if !event.wishes.freshness.allows(age) {
            return None;
        }
        if is_valid && age < lifetime.ttl {
            let refresh =
                lifetime.is_refresh_due(age, entry.compute, || 1.0 - rand::random::<f64>());
            return Some((How::Hit, refresh));
        }
        let overdue_allowed = match event.ended {
            Ended::Failed => lifetime.stale_while_revalidate.max(lifetime.stale_if_error),
            _ => lifetime.stale_while_revalidate,
        };
        let outdated_for = match is_valid {
            true => None,
            false => Some(outdated_for(entry, ended, labels, Instant::now()).ok()??),
        };
        let is_allowed = lifetime.allows_old(age, overdue_allowed, outdated_for);
        is_allowed.then_some((How::Stale, true))
    }

    /// Stores the answer to a request as if it had been made for it, and returns the tags that were added.
    async fn store(
        &mut self,
        event: &Event,
        source: &Source<'_>,
        key: CacheKey,
        deployed_key: Option<CacheKey>,
    ) -> Result<Vec<Tag>, &'static str> {
        let (answer, basis) = self.storable(event)?;
        let storage = self.admit(event, source, answer, basis).await;
        let storage = storage.inspect_err(|reason| {
            if *reason == REFUSED {
                // Otherwise an older one could be served stale.
                self.tiers.remove(&event.tenant, &key);
            }
        })?;
        let Some(lifetime) = storage.memory.map(|lifetime| lifetime.of(&key)) else {
            return Err("tiers");
        };
        let as_of = answer.as_of.ok_or("split")?;
        let added = basis.depends_on.added_tags();
        let reads = basis.depends_on.reads().len();
        let is_as_stored = basis.is_entry && *added == *storage.tags;
        let cells = if is_as_stored { basis.cells.clone() } else { basis.cells.first(reads) };
        if cells.changed_after(as_of.position) {
            return Err("changed");
        }
        let depends_on = match is_as_stored {
            true => basis.depends_on.clone(),
            false => Dependencies::new(basis.depends_on.reads().clone(), storage.tags.clone()),
        };
        let entry = Entry {
            value: answer.validator,
            as_of,
            reads: cells,
            depends_on,
            stored_at: Moment { monotonic: event.began + basis.compute, ..Moment::now() },
            compute: basis.compute,
            lifetime,
            weight_bytes: answer.weight_bytes,
        };
        match self.tiers.insert(&event.tenant, event.tier, key, entry, deployed_key) {
            Ok(()) => {
                self.counts.stored(lifetime.ttl);
                Ok(storage.tags)
            }
            Err(NotStored::TooHeavy { .. }) => Err("too-large"),
            Err(NotStored::Expired) => Err("expired"),
        }
    }

    /// What an answer was made from, if it may be stored under this policy's key.
    fn storable<'a>(&self, event: &'a Event) -> Result<(&'a Answered, &'a Basis), &'static str> {
        let answer = event.answer.as_ref().ok_or("failed")?;
        if let Some(reason) = answer.kept_apart {
            return Err(reason);
        }
        let basis = answer.basis.as_ref().ok_or("unknown")?;
        let coverage = &self.policy.plan().coverage;
        match &basis.parts {
            Some(parts) if !coverage.covers(parts) => return Err("read-outside-key"),
            // Another process made it, under the deployed policy.
            None if !coverage.includes(&self.covered_at_most) => return Err("unknown"),
            Some(_) | None => {}
        }
        if !basis.depends_on.reads().is_complete() {
            return Err("too-many-reads");
        }
        if basis.degraded {
            return Err("degraded");
        }
        Ok((answer, basis))
    }

    async fn admit(
        &mut self,
        event: &Event,
        source: &Source<'_>,
        answer: &Answered,
        basis: &Basis,
    ) -> Result<Storage, &'static str> {
        let view = || self.policy.view(&event.tenant, &event.pipeline, source);
        let outcome = || outcome(answer, basis);
        let admission = match self.policy.admit(view, outcome).await {
            None => Admission::by_plan(self.policy.plan(), answer.status),
            Some(apart) => {
                self.counts.cost(apart.took, apart.fuel);
                match apart.decided {
                    Ok(admission) => admission,
                    Err(failed) => {
                        self.counts.failed("admission", &failed);
                        return Err("policy-failed");
                    }
                }
            }
        };
        match admission {
            Admission::Store(storage) => Ok(storage),
            Admission::DoNotStore(reason) => {
                self.counts.refused(&reason);
                Err(REFUSED)
            }
        }
    }
}

fn outcome(answer: &Answered, basis: &Basis) -> Outcome {
    Outcome {
        status: answer.status,
        headers: answer.headers.clone(),
        body_bytes: answer.body_bytes,
        compute: basis.compute,
        reads: basis.depends_on.reads().clone(),
    }
}
