//! What a request would be answered with now, and why: the same decisions as those of a request, without
//! their effects.
//!
//! Out of scope: how it is shown (`weir-server`), and what a run would answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::lifetime::Lifetime;
use weir_cache::tag::Tag;
use weir_cache::tier::Miss;
use weir_core::Position;

use super::promote::Found;
use super::stale::When;
use super::{Answers, Bypass, NotStored, Question, Served, StoredAnswer, Via, keying};
use crate::deploy::Deployment;
use crate::invalidated::is_invalidated;
use crate::request::Source;
use crate::tenant::Tenant;
use crate::tenant::reading::Demand;
use crate::wishes::{Freshness, Wishes};

/// Why the memory tier has no hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHit {
    /// There is no entry, or none that is fresh.
    Absent,
    /// Something that it read has changed, it was invalidated, or some of what it read lags behind.
    Untrue,
    /// It is exact at an earlier position than the request demands.
    TooOldForDemand,
    /// The client wants a newer answer.
    TooOldForClient,
}

impl NoHit {
    /// The reason, as analytics show it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Untrue => "changed",
            Self::TooOldForDemand => "too-old",
            Self::TooOldForClient => "asked-for-newer",
        }
    }
}

/// What a request would be answered with.
#[derive(Debug)]
pub enum Expected {
    /// An answer that the cache has.
    Served(Via),
    /// A failure that is kept.
    KeptFailure,
    /// A run, or another request's that is in progress.
    Run,
    /// A run that is neither stored nor shared, for this reason.
    RunAlone(NotStored),
    /// Nothing: the client wants no run.
    NotCached,
    /// Nothing: no slot is free to ask the policy for the key.
    NoSlot,
}

/// The decision about a request, and what it was made from.
#[derive(Debug)]
pub struct Explanation {
    /// What it would be answered with.
    pub expected: Expected,
    /// Its key, unless the cache is not used.
    pub key: Option<CacheKey>,
    /// The parts of the key that the plan names, and their texts.
    pub parts: Vec<(String, Option<String>)>,
    /// What the memory tier has, fresh or not.
    pub memory: Option<Kept>,
    /// What the shared tier has, if it was asked, or why it has nothing.
    pub shared: Option<Result<Kept, Miss>>,
}

/// An entry of a tier.
#[derive(Debug)]
pub struct Kept {
    /// Time since it was made.
    pub age: Duration,
    /// How long it is fresh, and what is allowed afterwards.
    pub lifetime: Lifetime,
    /// The position that it was made at.
    pub as_of: Position,
    /// How long it took to make.
    pub compute: Duration,
    /// The size of its body.
    pub body_bytes: usize,
    /// What it depends on.
    pub depends_on: Vec<Dependency>,
    /// Whether a rule covers it that is newer.
    pub is_invalidated: bool,
    /// Whether all has changed that is older than a position after its own: the table of tags has
    /// forgotten what.
    pub is_below_floor: bool,
}

/// Something that an entry depends on.
#[derive(Debug)]
pub struct Dependency {
    /// Its name.
    pub tag: Tag,
    /// The position of its last change, or a later one; `None` if it was forgotten, which counts as a
    /// change.
    pub last_changed: Option<Position>,
}

impl Answers {
    /// Explains how a request would be answered. Has no effects, except that a policy's component may be
    /// asked for the key.
    pub async fn explain(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        wishes: Wishes,
    ) -> Explanation {
        let nothing = |expected| Explanation {
            expected,
            key: None,
            parts: Vec::new(),
            memory: None,
            shared: None,
        };
        let bypass = |reason| nothing(Expected::Served(Via::Bypass(reason)));
        if deployment.pipeline().writes {
            return bypass(Bypass::Writes);
        }
        let Some(policy) = &deployment.policy else { return bypass(Bypass::NoPolicy) };
        let key = match keying::key(deployment, policy, source).await {
            Ok(Some(key)) => key,
            Ok(None) => return bypass(Bypass::Policy),
            Err(_no_slot) => return nothing(Expected::NoSlot),
        };
        let question = Question { key, deployment, policy, source, demand, wishes };
        let memory = self.memory.get_kept(&key);
        let memory = memory.map(|entry| Kept::of(&entry, question));
        let (expected, shared) = self.expect(question).await;
        let parts = policy.plan.named_parts(source);
        Explanation { expected, key: Some(key), parts, memory, shared }
    }

    /// Follows [`Answers::serve`] up to where it would run the pipeline.
    async fn expect(
        self: &Arc<Self>,
        question: Question<'_>,
    ) -> (Expected, Option<Result<Kept, Miss>>) {
        let Question { key, deployment, demand, wishes, .. } = question;
        let tenant = deployment.tenant();
        let now = Instant::now();
        if let Ok((entry, _)) = self.judge(question, now) {
            let age = entry.age(now);
            let ttl_left = question.lifetime(&entry).ttl.saturating_sub(age);
            return (Expected::Served(Via::Hit { age, ttl_left }), None);
        }
        if let Some(Served { via, .. }) = self.stale(question, When::AtOnce) {
            return (Expected::Served(via), None);
        }
        if !wishes.only_if_cached {
            if wishes.no_store {
                return (Expected::RunAlone(NotStored::Asked), None);
            }
            let completed = tenant.progress.read(|view| view.completed());
            if tenant.at_least(demand.at_least) > completed.position {
                return (Expected::RunAlone(NotStored::Alone), None);
            }
            if self.kept_failure(&question).is_some() {
                return (Expected::KeptFailure, None);
            }
            if self.uncacheable.contains(&key) {
                return (Expected::RunAlone(NotStored::Uncacheable), None);
            }
        }
        let without = if wishes.only_if_cached { Expected::NotCached } else { Expected::Run };
        let is_asked = wishes.only_if_cached || wishes.freshness == Freshness::Any;
        let Some(shared) = self.shared.as_ref().filter(|_| is_asked) else {
            return (without, None);
        };
        let now = Moment::now();
        let labels = || question.labels();
        let found = self.find_shared(shared, key, deployment, demand, labels, now).await;
        let found = match found {
            Ok(found) => found,
            Err(miss) => return (without, Some(Err(miss))),
        };
        let Found { entry, ttl_left, .. } = &found;
        let age = entry.age(now.monotonic);
        let via = match found.is_old() {
            None => Some(Via::SharedHit { age, ttl_left: *ttl_left }),
            Some(_) if found.is_for_memory => {
                let is_fresh_enough = wishes.freshness.allows(age);
                let stale = self.stale_entry(entry, deployment, demand, labels, When::AtOnce);
                stale.filter(|_| is_fresh_enough).map(|served| served.via)
            }
            Some(_) => None,
        };
        let via = via.filter(|_| wishes.freshness.allows(age));
        let kept = Kept::of(entry, question);
        (via.map_or(without, Expected::Served), Some(Ok(kept)))
    }
}

impl Kept {
    fn of(entry: &Entry<Arc<StoredAnswer>>, question: Question<'_>) -> Self {
        let tenant: &Tenant = question.tenant();
        let as_of = entry.as_of.position;
        let reads = entry.depends_on.reads();
        // The cells are those of the tags, in their order.
        let depends_on = entry.depends_on.tags().into_iter().zip(entry.reads.last_positions());
        let depends_on = depends_on.map(|(tag, last_changed)| Dependency { tag, last_changed });
        Self {
            age: entry.age(Instant::now()),
            lifetime: entry.lifetime.within(&question.deployment.longest.memory),
            as_of,
            compute: entry.compute,
            body_bytes: entry.value.body.len(),
            depends_on: depends_on.collect(),
            is_invalidated: is_invalidated(&tenant.ended, reads, as_of, || question.labels()),
            is_below_floor: as_of < tenant.ended.tags.floor(),
        }
    }
}
