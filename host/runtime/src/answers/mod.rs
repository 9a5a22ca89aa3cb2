//! How a request to a pipeline gets its answer: from the memory tier, from another request's
//! flight that is already in progress (its leader), from the shared tier, or by running the pipeline.
//!
//! ```text
//! key ─► memory tier ── valid and fresh ─────────────────────► hit
//!  │          │ miss      └ due for a refresh ─► a flight in the background
//!  │          ▼
//!  │     stale, and allowed to be served at once ─► stale, and a flight in the background
//!  │          │
//!  │          ▼
//!  │     a kept failure ── valid ───────────────────────────► failed ─┐
//!  │          │                                                       │
//!  │          ▼                                                       │
//!  │     single-flight ── follow ── valid for this follower ─► collapsed
//!  │          │ lead (detached)        │ not valid: run alone         │
//!  │          ▼                        │                              │
//!  │     shared tier ── valid, fresh, of this history ─ promote ─► hit│
//!  │          │ miss                   │                              │
//!  │          ▼                        ▼                              ▼
//!  └─ bypass ─► run ─► admit ─► store ─► answer       failed ─► stale, if that is allowed
//! ```
//!
//! [`served`] defines the result, [`keying`] makes the key, [`flight`] runs the pipeline for all who ask
//! the same, and [`alone`] for one; [`fill`] stores what it answers, [`promote`] finds it again in the shared tier, and
//! [`encoded`] is its encoding there. [`stale`] and [`failures`] are about what is served when there is
//! nothing fresh, and [`refresh`] makes it again. [`explain`] says what would be served and why, and
//! [`observed`] tells a policy that is tried in shadow what was. Out of scope: HTTP (`weir-server`).

mod alone;
pub mod config;
mod encoded;
pub mod explain;
mod failures;
mod fill;
mod flight;
mod keying;
mod made;
mod observed;
mod promote;
mod refresh;
mod served;
mod stale;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use tokio_util::task::TaskTracker;
use weir_cache::CacheKey;
use weir_cache::entry::Entry;
use weir_cache::lifetime::Lifetime;
use weir_cache::memory::MemoryTier;
use weir_cache::reads::ReadSet;
use weir_cache::recent::RecentKeys;
use weir_cache::single_flight::{Flight, SingleFlight};
use weir_cache::tier::SharedTier;
use weir_core::Commit;
use weir_core::fault::{self, Fault};

use crate::deploy::Deployment;
use crate::invalidated::{Labels, is_valid};
use crate::pipeline::RunError;
use crate::policy::Policy;
use crate::policy::plan::Timeouts;
use crate::request::Source;
use crate::shadow::TierSize;
use crate::tenant::Tenant;
use crate::tenant::reading::{Demand, Stated};
use crate::wishes::{Freshness, Wishes};

use self::explain::NoHit;
use self::flight::{Landed, Shared};
use self::made::Origin;
use self::promote::Promoted;
use self::served::Failure;
pub use self::served::{Bypass, Failed, Kept, NotStored, Served, Stale, StoredAnswer, Via};
use self::stale::When;

/// How many flights a request joins whose result is not for it before it runs the pipeline alone.
/// Those that end without a result do not count.
const MAX_FLIGHTS_JOINED: usize = 3;

/// The part of a tenant's memory for answers that is for kept failures.
const PART_FOR_FAILURES: u64 = 64;

/// How long nobody refreshes an answer after that did not lead to a new one.
const REFRESHED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The cache of one tenant's answers, and the pipelines behind it.
pub struct Answers {
    memory: MemoryTier<Arc<StoredAnswer>>,
    memory_size: TierSize,
    shared: Option<SharedTier<Arc<StoredAnswer>>>,
    failures: MemoryTier<Failure>,
    flights: SingleFlight<CacheKey, Landed>,
    /// The keys whose answers could not be stored.
    uncacheable: RecentKeys,
    /// The keys whose refresh led to nothing.
    refreshed_in_vain: RecentKeys,
    /// Leaders and their fills. A drain waits for them.
    detached: TaskTracker,
}

/// An entry of the memory tier.
type StoredEntry = Arc<Entry<Arc<StoredAnswer>>>;

/// A request that can be answered from the cache.
#[derive(Clone, Copy)]
struct Question<'a> {
    key: CacheKey,
    deployment: &'a Arc<Deployment>,
    policy: &'a Arc<Policy>,
    source: &'a Source<'a>,
    demand: Demand,
    wishes: Wishes,
}

impl Question<'_> {
    fn labels(&self) -> Labels {
        Labels::of(&self.key, self.deployment.name(), &self.policy.plan, self.source)
    }

    fn tenant(&self) -> &Tenant {
        self.deployment.tenant()
    }

    /// The lifetime of an entry of the memory tier, which another policy with the same plan may have stored.
    fn lifetime(&self, entry: &StoredEntry) -> Lifetime {
        entry.lifetime.within(&self.deployment.longest.memory)
    }
}

impl Answers {
    /// Creates a cache in front of pipelines, with an empty memory tier before the `shared` one.
    /// Leaders run in `detached`, which a drain waits for.
    #[must_use]
    pub fn new(
        limits: &config::Cache,
        shared: Option<SharedTier<Arc<StoredAnswer>>>,
        detached: TaskTracker,
    ) -> Self {
        let max_entry_bytes = u32::try_from(limits.max_entry_bytes).unwrap_or(u32::MAX);
        let failure_bytes = limits.memory_bytes / PART_FOR_FAILURES;
        let answer_bytes = limits.memory_bytes - failure_bytes;
        let recent = |ttl| RecentKeys::new(limits.max_flights as u64, ttl);
        Self {
            memory: MemoryTier::new(answer_bytes).with_max_entry_bytes(max_entry_bytes),
            memory_size: TierSize { max_bytes: answer_bytes, max_entry_bytes },
            shared,
            failures: MemoryTier::new(failure_bytes),
            flights: SingleFlight::new(limits.max_flights, limits.max_followers),
            uncacheable: recent(Duration::from_millis(limits.uncacheable_ttl_ms)),
            refreshed_in_vain: recent(REFRESHED_AGAIN_AFTER),
            detached,
        }
    }

    /// How many answers the memory tier has, and the memory that they take, in bytes.
    #[must_use]
    pub fn in_memory(&self) -> (u64, u64) {
        self.memory.run_housekeeping();
        (self.memory.entries(), self.memory.weighed_bytes())
    }

    /// Writes what is on its way to the shared tier. Leaders have ended before.
    pub async fn drain(&self) {
        if let Some(shared) = &self.shared {
            shared.drain().await;
        }
    }

    /// Answers one request to `deployment`, with a position that satisfies `demand`, as the client
    /// wishes, and records how long that took.
    ///
    /// # Errors
    /// The pipeline returned no answer, or none with such a position.
    pub async fn serve(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        wishes: Wishes,
    ) -> Result<Served, Failed> {
        let timing = deployment.pipeline().counters.latencies.begin();
        let served = self.answer(deployment, source, demand, wishes).await;
        if deployment.shadowing.is_on() {
            self.observe(deployment, source, wishes, timing.began(), &served);
        }
        timing.end(served::outcome(&served));
        served
    }

    async fn answer(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        wishes: Wishes,
    ) -> Result<Served, Failed> {
        let pipeline = deployment.pipeline();
        let Some(policy) = deployment.policy.as_ref().filter(|_| !pipeline.writes) else {
            let reason = if pipeline.writes { Bypass::Writes } else { Bypass::NoPolicy };
            return Box::pin(self.bypass(deployment, source, demand, reason)).await;
        };
        let key = match keying::key(deployment, policy, source).await {
            Ok(Some(key)) => key,
            Ok(None) => {
                return Box::pin(self.bypass(deployment, source, demand, Bypass::Policy)).await;
            }
            Err(error) => {
                let failed = Failed::from(RunError::from(error));
                deployment.tally.failed(failed.reason());
                return Err(failed);
            }
        };
        let question = Question { key, deployment, policy, source, demand, wishes };
        match self.look_up(question) {
            Ok(hit) => {
                pipeline.counters.hits.increment(1);
                Ok(hit)
            }
            // Apart from a hit's future, which is copied several times before it is polled.
            Err(no_hit) => Box::pin(self.no_hit(question, no_hit)).await,
        }
    }

    /// Answers a request for which the memory tier has no hit, and counts how.
    async fn no_hit(
        self: &Arc<Self>,
        question: Question<'_>,
        no_hit: NoHit,
    ) -> Result<Served, Failed> {
        let why = self.reason(no_hit, &question.key);
        let served = self.miss(question).await;
        let deployment = question.deployment;
        if let Some(ended) = served::ended(&served) {
            deployment.tally.missed(why, ended);
        }
        if let Ok(Served { via: Via::Stale { reason, .. }, .. }) = &served {
            deployment.pipeline().counters.served_stale(reason.as_str());
        }
        served
    }

    /// The answer of the memory tier, if it is fresh and nothing has changed that it was made from. Whoever
    /// finds one answers with it.
    fn look_up(self: &Arc<Self>, question: Question<'_>) -> Result<Served, NoHit> {
        let now = Instant::now();
        let (entry, stated) = self.judge(question, now)?;
        let (age, lifetime) = (entry.age(now), question.lifetime(&entry));
        question.deployment.tally.hit(&question.key, age);
        if lifetime.is_refresh_due(age, entry.compute, refresh::random) {
            self.refresh(question, Shared::Skipped);
        }
        let via = Via::Hit { age, ttl_left: lifetime.ttl.saturating_sub(age) };
        let (answer, stated) = (Arc::clone(&entry.value), Stated::At(stated));
        Ok(Served { answer, stated, searchable: None, via, origin: Origin::Entry(entry) })
    }

    /// Why there was no hit, in a word: what is kept to be served stale has expired.
    fn reason(&self, no_hit: NoHit, key: &CacheKey) -> &'static str {
        match no_hit {
            NoHit::Absent if self.memory.contains(key) => "expired",
            no_hit => no_hit.reason(),
        }
    }

    /// The entry of the memory tier that answers a question, and the position that it is exact at.
    fn judge(&self, question: Question<'_>, now: Instant) -> Result<(StoredEntry, Commit), NoHit> {
        let tenant = question.tenant();
        let entry = self.memory.get(&question.key).ok_or(NoHit::Absent)?;
        if entry.age(now) >= question.lifetime(&entry).ttl {
            return Err(NoHit::Absent);
        }
        let is_valid = || is_valid(&entry, &tenant.ended, || question.labels());
        let stated = stated_if_valid(tenant, entry.depends_on.reads(), is_valid);
        let stated = stated.ok_or(NoHit::Untrue)?;
        if stated.position < question.demand.at_least {
            return Err(NoHit::TooOldForDemand);
        }
        if !question.wishes.freshness.allows(entry.age(now)) {
            return Err(NoHit::TooOldForClient);
        }
        Ok((entry, stated))
    }

    /// Answers a request whose key has no fresh and valid entry.
    async fn miss(self: &Arc<Self>, question: Question<'_>) -> Result<Served, Failed> {
        let lookups = &question.deployment.pipeline().counters;
        if let Some(stale) = self.stale(question, When::AtOnce) {
            if !question.wishes.only_if_cached {
                self.refresh(question, Shared::Asked);
            }
            lookups.stale.increment(1);
            return Ok(stale);
        }
        lookups.misses.increment(1);
        let failed = match self.patiently(question).await {
            Ok(served) => return Ok(served),
            Err(failed) => failed,
        };
        let instead =
            || self.look_up(question).ok().or_else(|| self.stale(question, When::OnError));
        let instead = if failed.may_be_covered { instead() } else { None };
        instead.ok_or(failed)
    }

    /// Waits for an answer for as long as the policy says.
    async fn patiently(self: &Arc<Self>, question: Question<'_>) -> Result<Served, Failed> {
        let Timeouts { soft, hard } = question.policy.plan.timeouts;
        let mut answer = pin!(self.resolve(question));
        let began = tokio::time::Instant::now();
        let soft = soft.filter(|_| self.stale(question, When::OnError).is_some());
        if let Some(soft) = soft {
            if let Ok(answered) = timeout(soft, &mut answer).await {
                return answered;
            }
            if let Some(stale) = self.stale(question, When::OnError) {
                return Ok(stale);
            }
        }
        let Some(hard) = hard else { return answer.await };
        timeout_at(began + hard, answer).await.unwrap_or_else(|_| {
            let deadline_ms = u64::try_from(hard.as_millis()).unwrap_or(u64::MAX);
            let error = RunError::DeadlineExceeded { deadline_ms };
            Err(error.into())
        })
    }

    /// Gets a new answer: by following a flight, by leading one, or alone.
    async fn resolve(self: &Arc<Self>, question: Question<'_>) -> Result<Served, Failed> {
        let Question { key, deployment, source, demand, wishes, .. } = question;
        let (tenant, pipeline) = (deployment.tenant(), deployment.pipeline());
        let alone = |reason| self.run_alone(deployment, source, demand, Via::NotStored(reason));
        if wishes.only_if_cached {
            return self.only_from_shared(question).await;
        }
        if wishes.no_store {
            return alone(NotStored::Asked).await;
        }
        let arrived = tenant.progress.view();
        if tenant.at_least(demand.at_least) > arrived.completed().position {
            // It may have to wait for its position, and must not make others wait with it.
            return alone(NotStored::Alone).await;
        }
        if let Some(failed) = self.kept_failure(&question) {
            return Err(failed);
        }
        if self.uncacheable.contains(&key) {
            return alone(NotStored::Uncacheable).await;
        }
        // Shared by all flights: a follower waits no longer than a leader may run.
        let give_up_at = tokio::time::Instant::now() + pipeline.deadline;
        let mut joined_in_vain = 0;
        while joined_in_vain < MAX_FLIGHTS_JOINED {
            let flight = self.flights.join(key);
            // A leader may have finished between the last lookup and the join.
            if let Ok(hit) = self.look_up(question) {
                return Ok(hit);
            }
            match flight {
                Flight::Lead(leader) => match self.lead(leader, question).await {
                    Some(answered) => return answered,
                    // The shared tier had an answer that may be served stale.
                    None => {
                        if let Some(stale) = self.stale(question, When::AtOnce) {
                            self.refresh(question, Shared::Skipped);
                            return Ok(stale);
                        }
                        joined_in_vain += 1;
                    }
                },
                Flight::Crowded => break,
                // It began before this request did, and what it finds can be older still.
                Flight::Follow(_) if wishes.freshness != Freshness::Any => break,
                Flight::Follow(follower) => {
                    match timeout_at(give_up_at, follower.wait()).await {
                        Ok(Ok(landed)) => match flight::take(landed, tenant, &arrived) {
                            Some(outcome) => return outcome,
                            // The data changed meanwhile, or the result may not be shared.
                            None if self.uncacheable.contains(&key) => break,
                            None => joined_in_vain += 1,
                        },
                        // It panicked, or has found what may be served stale. However often that
                        // happens, those who wait lead one after another.
                        Ok(Err(_abandoned)) => {
                            if let Some(stale) = self.stale(question, When::AtOnce) {
                                return Ok(stale);
                            }
                        }
                        Err(_) => {
                            return Err(pipeline.deadline_exceeded().into());
                        }
                    }
                }
            }
        }
        alone(NotStored::Alone).await
    }

    /// The answer of the shared tier, for a client that wants no run.
    async fn only_from_shared(self: &Arc<Self>, question: Question<'_>) -> Result<Served, Failed> {
        let Question { key, deployment, demand, wishes, .. } = question;
        let not_cached = || Failed::from(RunError::NotCached);
        match self.promote(key, deployment, demand, || question.labels()).await {
            Promoted::Fresh { served, .. } if wishes.freshness.allows(served.age()) => Ok(served),
            Promoted::Stale => self.stale(question, When::AtOnce).ok_or_else(not_cached),
            Promoted::Fresh { .. } | Promoted::Nothing => Err(not_cached()),
        }
    }
}

/// The last position at which something that was made from `reads` is what would be made, if it
/// `is_valid`: nothing that it read has changed.
fn stated_if_valid(
    tenant: &Tenant,
    reads: &ReadSet,
    is_valid: impl FnOnce() -> bool,
) -> Option<Commit> {
    // First how far what it read is applied, then what has changed: a change in between can only
    // invalidate it, never make it look newer than it is. Documents of two collections may be
    // unchanged although one collection lags behind a change to the other: then there is no
    // position to state.
    let common = tenant.progress.read(|view| match fault::is(Fault::HitStatesHead) {
        true => Some(view.heard()),
        false => view.common(reads.collections()),
    })?;
    is_valid().then_some(common)
}
