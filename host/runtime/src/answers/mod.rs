//! How a request to a pipeline gets its answer: from the memory tier, from another request's
//! flight that is already in progress (its leader), from the shared tier, or by running the pipeline.
//!
//! ```text
//! key ─► memory tier ── valid and fresh ─────────────────────► hit
//!  │          │ miss
//!  │          ▼
//!  │     single-flight ── follow ── valid for this follower ─► collapsed
//!  │          │ lead (detached)        │ not valid: run alone
//!  │          ▼                        │
//!  │     shared tier ── valid, fresh, of this history ─ promote ─► hit
//!  │          │ miss                   │
//!  │          ▼                        ▼
//!  └─ bypass ─► run ─► admit ─► store ─► answer
//! ```
//!
//! [`served`] defines the result, [`fill`] stores it, [`promote`] finds it again in the shared tier, and
//! [`encoded`] is its encoding there. Out of scope: HTTP (`weir-server`).

pub mod config;
mod encoded;
mod fill;
mod promote;
mod served;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use tracing::warn;
use weir_cache::CacheKey;
use weir_cache::key::KeyBuilder;
use weir_cache::memory::MemoryTier;
use weir_cache::reads::ReadSet;
use weir_cache::single_flight::{Flight, Leader, SingleFlight};
use weir_cache::tag::Reads;
use weir_cache::tier::SharedTier;
use weir_cache::uncacheable::Uncacheable;
use weir_core::Commit;
use weir_core::fault::{self, Fault};
use weir_search::progress::View;

use crate::deploy::Deployment;
use crate::engine::slots::NoSlot;
use crate::pipeline::{Run, RunError, Runner};
use crate::policy::{Keying, Policy};
use crate::request::{KeyedRequest, Source};
use crate::tenant::Tenant;
use crate::tenant::reading::{Demand, Stated};

use self::fill::Fill;
use self::promote::Promoted;
pub use self::served::{Bypass, Failed, NotStored, Served, StoredAnswer, Via};

/// How many flights a request joins without getting an answer before it runs the pipeline
/// alone.
const MAX_FLIGHTS_JOINED: usize = 3;

/// What a leader hands to its followers.
#[derive(Clone, Debug)]
enum Landed {
    /// An answer, or an error that every follower would also get, and what it was made from, so
    /// that each follower can check whether it is still valid.
    Shared { outcome: Result<Arc<StoredAnswer>, RunError>, made: Arc<Made> },
    /// The result depends on something outside the key, or on more than can be recorded, or has
    /// no one position: each follower tries again or runs alone.
    NotShared,
}

/// What an outcome was made from.
#[derive(Debug)]
struct Made {
    as_of: Commit,
    reads: ReadSet,
    cells: Reads,
}

/// The cache of one tenant's answers, and the pipelines behind it.
pub struct Answers {
    memory: MemoryTier<Arc<StoredAnswer>>,
    shared: Option<SharedTier<Arc<StoredAnswer>>>,
    flights: SingleFlight<CacheKey, Landed>,
    uncacheable: Uncacheable,
    /// Leaders and their fills. A drain waits for them.
    detached: TaskTracker,
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
        Self {
            memory: MemoryTier::new(limits.memory_bytes).with_max_entry_bytes(max_entry_bytes),
            shared,
            flights: SingleFlight::new(limits.max_flights, limits.max_followers),
            uncacheable: Uncacheable::new(
                limits.max_flights as u64,
                Duration::from_millis(limits.uncacheable_ttl_ms),
            ),
            detached,
        }
    }

    /// Writes what is on its way to the shared tier. Leaders have ended before.
    pub async fn close(&self) {
        if let Some(shared) = &self.shared {
            shared.close().await;
        }
    }

    /// Answers one request to `deployment`, with a position that satisfies `demand`, and records how
    /// long that took.
    ///
    /// # Errors
    /// The pipeline returned no answer, or none with such a position.
    pub async fn serve(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
    ) -> Result<Served, Failed> {
        let timing = deployment.pipeline().counters.latencies.begin();
        let served = self.answer(deployment, source, demand).await;
        timing.end(served::outcome(&served));
        served
    }

    async fn answer(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
    ) -> Result<Served, Failed> {
        let (tenant, pipeline) = (deployment.tenant(), deployment.pipeline());
        let Some(policy) = deployment.policy.as_ref().filter(|_| !pipeline.writes) else {
            let reason = if pipeline.writes { Bypass::Writes } else { Bypass::NoPolicy };
            return Box::pin(self.run_alone(deployment, source, demand, Via::Bypass(reason))).await;
        };
        let key = match key(deployment, policy, source).await {
            Ok(Some(key)) => key,
            Ok(None) => {
                let via = Via::Bypass(Bypass::Policy);
                return Box::pin(self.run_alone(deployment, source, demand, via)).await;
            }
            Err(error) => return Err(Failed { error: error.into(), stated: None }),
        };
        if let Some(hit) = self.look_up(&key, tenant, demand) {
            pipeline.counters.hits.increment(1);
            return Ok(hit);
        }
        pipeline.counters.misses.increment(1);
        // Apart from a hit's future, which is copied several times before it is polled.
        Box::pin(self.miss(key, deployment, policy, source, demand)).await
    }

    /// Answers a request whose key has no entry that may be used.
    async fn miss(
        self: &Arc<Self>,
        key: CacheKey,
        deployment: &Arc<Deployment>,
        policy: &Arc<Policy>,
        source: &Source<'_>,
        demand: Demand,
    ) -> Result<Served, Failed> {
        let (tenant, pipeline) = (deployment.tenant(), deployment.pipeline());
        let arrived = tenant.progress.view();
        if tenant.at_least(demand.at_least) > arrived.completed().position {
            // It may have to wait for its position, and must not make others wait with it.
            return self
                .run_alone(deployment, source, demand, Via::NotStored(NotStored::Alone))
                .await;
        }
        if self.uncacheable.contains(&key) {
            return self
                .run_alone(deployment, source, demand, Via::NotStored(NotStored::Uncacheable))
                .await;
        }
        // Shared by all flights: a follower waits no longer than a leader may run.
        let give_up_at = tokio::time::Instant::now() + pipeline.deadline;
        for _ in 0..MAX_FLIGHTS_JOINED {
            let flight = self.flights.join(key);
            // A leader may have finished between the last lookup and the join.
            if let Some(hit) = self.look_up(&key, tenant, demand) {
                return Ok(hit);
            }
            match flight {
                Flight::Lead(leader) => {
                    return self.lead(leader, key, deployment, policy, source, demand).await;
                }
                Flight::Crowded => break,
                Flight::Follow(follower) => {
                    match timeout_at(give_up_at, follower.wait()).await {
                        Ok(Ok(landed)) => match take(landed, tenant, &arrived) {
                            Some(outcome) => return outcome,
                            // The data changed meanwhile, or the result may not be shared.
                            None if self.uncacheable.contains(&key) => break,
                            None => {}
                        },
                        Ok(Err(_abandoned)) => {}
                        Err(_) => {
                            return Err(Failed {
                                error: pipeline.deadline_exceeded(),
                                stated: None,
                            });
                        }
                    }
                }
            }
        }
        self.run_alone(deployment, source, demand, Via::NotStored(NotStored::Alone)).await
    }

    fn look_up(&self, key: &CacheKey, tenant: &Tenant, demand: Demand) -> Option<Served> {
        let entry = self.memory.get(key)?;
        let stated =
            stated_if_valid(tenant, entry.depends_on.reads(), || entry.is_valid(&tenant.tags))?;
        if stated.position < demand.at_least {
            return None;
        }
        let now = Instant::now();
        let via = Via::Hit { age: entry.age(now), ttl_left: entry.remaining_ttl(now) };
        let answer = Arc::clone(&entry.value);
        Some(Served { answer, stated: Stated::At(stated), searchable: None, via })
    }

    /// Leads a flight in a detached task: if the client disconnects, the followers still get
    /// their answer, and as a rule the fill still happens.
    async fn lead(
        self: &Arc<Self>,
        leader: Leader<CacheKey, Landed>,
        key: CacheKey,
        deployment: &Arc<Deployment>,
        policy: &Arc<Policy>,
        source: &Source<'_>,
        demand: Demand,
    ) -> Result<Served, Failed> {
        let request = Arc::new(policy.plan.request(source));
        let request_id = source.id.clone();
        let view = policy.view(&deployment.tenant().name, deployment.name(), source);
        let (answers, deployment, policy) =
            (Arc::clone(self), Arc::clone(deployment), Arc::clone(policy));
        // This client follows, too, until this future is dropped.
        let follower = leader.follow();
        let fill = self.detached.spawn(async move {
            if let Some(promoted) = answers.promote(key, &deployment, demand).await {
                let Promoted { served, made } = promoted;
                let outcome = Ok(Arc::clone(&served.answer));
                leader.finish(Landed::Shared { outcome, made: Arc::new(made) });
                return Some(Ok(served));
            }
            let run = run(&deployment.runner, request, demand, &leader).await?;
            let kept_apart = kept_apart(&run, &policy);
            let tenant = deployment.tenant();
            let made = run.stated.at().map(|as_of| Made {
                as_of,
                cells: tenant.tags.resolve(&run.reads.tags()),
                reads: run.reads.clone(),
            });
            let served = match (run.made(), &made) {
                (Ok((answer, outcome)), Some(made)) => {
                    let via = match kept_apart {
                        Some(reason) => Via::NotStored(reason),
                        None => {
                            let request_id = &request_id;
                            let fill = Fill { key, answer: &answer, made, tenant, request_id };
                            answers.fill(fill, &deployment, &policy, view, outcome).await
                        }
                    };
                    Ok(run.served(answer, via))
                }
                (Ok((answer, _)), None) => Ok(run.served(answer, Via::NotStored(NotStored::Split))),
                (Err(error), _) => Err(run.failed(error)),
            };
            // Before the followers wake, so that they do not lead one after another.
            let lasts = match &served {
                Ok(Served { via: Via::NotStored(reason), .. }) => reason.lasts(),
                _ => kept_apart.is_some_and(NotStored::lasts),
            };
            if lasts {
                answers.uncacheable.note(key);
            }
            leader.finish(match (&served, made, kept_apart) {
                (Ok(Served { answer, .. }), Some(made), None) => {
                    Landed::Shared { outcome: Ok(Arc::clone(answer)), made: Arc::new(made) }
                }
                (Err(failed), Some(made), None) if !failed.error.is_about_positions() => {
                    Landed::Shared { outcome: Err(failed.error.clone()), made: Arc::new(made) }
                }
                _ => Landed::NotShared,
            });
            Some(served)
        });
        let ended = fill.await;
        drop(follower);
        // It is not left while this client follows, so otherwise it panicked.
        let panicked = || Err(Failed { error: RunError::Panicked, stated: None });
        ended.ok().flatten().unwrap_or_else(panicked)
    }

    /// Runs the pipeline for this request only, for the reason in `via`.
    async fn run_alone(
        &self,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        via: Via,
    ) -> Result<Served, Failed> {
        let request = match &deployment.policy {
            Some(policy) if !deployment.pipeline().writes => policy.plan.request(source),
            _ => source.request(),
        };
        let run = deployment.runner.run(Arc::new(request), demand).await;
        let (answer, _) = run.made().map_err(|error| run.failed(error))?;
        let via = match (&run.stated, via) {
            (Stated::Split(_), Via::NotStored(_)) => Via::NotStored(NotStored::Split),
            (_, via) => via,
        };
        Ok(run.served(answer, via))
    }
}

/// The key of a request; `None` if the policy bypasses the cache or failed.
async fn key(
    deployment: &Deployment,
    policy: &Arc<Policy>,
    source: &Source<'_>,
) -> Result<Option<CacheKey>, NoSlot> {
    let mut key = KeyBuilder::new(&deployment.key_prefix);
    policy.plan.hash(source, &mut key);
    if policy.has_keying() {
        // Apart from the future of a key that the plan makes alone.
        return Box::pin(key_by_component(key, deployment, policy, source)).await;
    }
    Ok(Some(key.finish()))
}

/// The key with the parts that the policy's component adds to it.
async fn key_by_component(
    mut key: KeyBuilder,
    deployment: &Deployment,
    policy: &Arc<Policy>,
    source: &Source<'_>,
) -> Result<Option<CacheKey>, NoSlot> {
    let view = policy.view(&deployment.tenant().name, deployment.name(), source);
    match policy.key(&deployment.runner.guests, view).await? {
        Ok(Keying::Parts(parts)) => {
            for part in parts {
                key.part(part.as_bytes());
            }
            Ok(Some(key.finish()))
        }
        Ok(Keying::Bypass(_)) => Ok(None),
        Err(error) => {
            let (policy, request_id) = (policy.name.as_str(), source.id.as_str());
            // The error is last, because it may have lines of its own.
            warn!(policy, request_id, %error, "bypassing the cache");
            Ok(None)
        }
    }
}

/// Runs the pipeline. `None` if all who waited for the answer have left, and the pipeline already has
/// as many runs that nobody waits for as it may have.
async fn run(
    runner: &Runner,
    request: Arc<KeyedRequest>,
    demand: Demand,
    leader: &Leader<CacheKey, Landed>,
) -> Option<Run> {
    let mut run = pin!(runner.run(request, demand));
    select! {
        biased;
        run = &mut run => Some(run),
        () = leader.unfollowed() => {
            let _unattended = runner.unattended.try_acquire().ok()?;
            Some(run.await)
        }
    }
}

/// Why the outcome of a run is neither stored nor shared, if so.
fn kept_apart(run: &Run, policy: &Policy) -> Option<NotStored> {
    if !policy.plan.coverage.covers(&run.parts) {
        Some(NotStored::ReadOutsideKey)
    } else if !run.reads.is_complete() {
        Some(NotStored::TooManyReads)
    } else if run.degraded && run.outcome.is_ok() {
        // An error says that something failed; followers that wait get it too.
        Some(NotStored::Degraded)
    } else if run.stated.at().is_none() {
        Some(NotStored::Split)
    } else {
        None
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

/// What a follower that arrived when `arrived` was published may use of a leader's result: an
/// outcome that is still valid, or was when it arrived.
fn take(landed: Landed, tenant: &Tenant, arrived: &View) -> Option<Result<Served, Failed>> {
    let Landed::Shared { outcome, made } = landed else { return None };
    let Made { as_of, reads, cells } = &*made;
    let valid = || as_of.position >= tenant.tags.floor() && !cells.changed_after(as_of.position);
    let stated = stated_if_valid(tenant, reads, valid).or_else(|| {
        let on_arrival = arrived.any_applied(reads.collections());
        (*as_of >= on_arrival).then_some(*as_of)
    })?;
    let stated = Stated::At(stated);
    Some(match outcome {
        Ok(answer) => Ok(Served { answer, stated, searchable: None, via: Via::Collapsed }),
        Err(error) => Err(Failed::of(error, || stated)),
    })
}
