//! How a request to a pipeline gets its answer: from the memory tier, from another request's
//! run that is already in progress (the leader), or by running the pipeline.
//!
//! ```text
//! key ─► memory tier ── valid and fresh ─────────────────────► hit
//!  │          │ miss
//!  │          ▼
//!  │     single-flight ── follow ── valid for this follower ─► collapsed
//!  │          │ lead (detached)        │ not valid: run alone
//!  │          ▼                        ▼
//!  └─ bypass ─► run ─► admit ─► store ─► answer
//! ```
//!
//! [`served`] defines the result, [`fill`] stores it, and [`encoded`] is its encoding outside
//! the process. Out of scope: HTTP (`weir-server`).

pub mod config;
mod encoded;
mod fill;
mod served;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use tracing::warn;
use weir_cache::CacheKey;
use weir_cache::key::KeyBuilder;
use weir_cache::memory::MemoryTier;
use weir_cache::single_flight::{Flight, Leader, SingleFlight};
use weir_cache::tag::Reads;
use weir_cache::uncacheable::Uncacheable;
use weir_core::Position;

use crate::deploy::Deployment;
use crate::engine::threads::GuestThreads;
use crate::pipeline::RunError;
use crate::policy::{Keying, Policy, PolicyError};
use crate::request::Source;
use crate::tenant::Tenant;

use self::fill::Fill;
pub use self::served::{Bypass, NotStored, Served, StoredAnswer, Via};

/// How many flights a request joins without getting an answer before it runs the pipeline
/// alone.
const MAX_FLIGHTS_JOINED: usize = 3;

/// What a leader hands to its followers.
#[derive(Clone, Debug)]
enum Landed {
    /// An answer and what it read, so that each follower can check whether it is still valid.
    Answer { answer: Arc<StoredAnswer>, as_of: Position, reads: Reads },
    /// An error that every follower would also get, as long as what was read has not changed.
    Error { error: RunError, as_of: Position, reads: Reads },
    /// The result depends on something outside the key, or on more than can be recorded: each
    /// follower tries again or runs alone.
    NotShared,
}

/// The cache and the pipelines behind it.
pub struct Answers {
    memory: MemoryTier<Arc<StoredAnswer>>,
    flights: SingleFlight<CacheKey, Landed>,
    uncacheable: Uncacheable,
    threads: GuestThreads,
    /// Leaders and their fills. A drain waits for them.
    detached: TaskTracker,
}

impl Answers {
    /// Creates an empty cache in front of pipelines that run on `threads`. Leaders run in
    /// `detached`, which a drain waits for.
    #[must_use]
    pub fn new(limits: &config::Cache, threads: GuestThreads, detached: TaskTracker) -> Self {
        let max_entry_bytes = u32::try_from(limits.max_entry_bytes).unwrap_or(u32::MAX);
        Self {
            memory: MemoryTier::new(limits.memory_bytes).with_max_entry_bytes(max_entry_bytes),
            flights: SingleFlight::new(limits.max_flights, limits.max_followers),
            uncacheable: Uncacheable::new(
                limits.max_flights as u64,
                Duration::from_millis(limits.uncacheable_ttl_ms),
            ),
            threads,
            detached,
        }
    }

    /// Answers one request to `deployment`.
    ///
    /// # Errors
    /// The pipeline returned no answer.
    pub async fn serve(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
    ) -> Result<Served, RunError> {
        let (tenant, pipeline) = (deployment.tenant(), deployment.pipeline());
        let arrived_at = tenant.tags.latest();
        let Some(policy) = deployment.policy.as_ref().filter(|_| !pipeline.writes) else {
            let reason = if pipeline.writes { Bypass::Writes } else { Bypass::NoPolicy };
            return self.run_alone(deployment, source, Via::Bypass(reason)).await;
        };
        let Some(key) = self.key(deployment, policy, source).await else {
            return self.run_alone(deployment, source, Via::Bypass(Bypass::Policy)).await;
        };
        if let Some(hit) = self.look_up(&key, tenant) {
            pipeline.counters.hits.increment(1);
            return Ok(hit);
        }
        pipeline.counters.misses.increment(1);
        if self.uncacheable.contains(&key) {
            return self
                .run_alone(deployment, source, Via::NotStored(NotStored::Uncacheable))
                .await;
        }
        // Shared by all flights: a follower waits no longer than a leader may run.
        let give_up_at = tokio::time::Instant::now() + pipeline.deadline;
        for _ in 0..MAX_FLIGHTS_JOINED {
            let flight = self.flights.join(key);
            // A leader may have finished between the last lookup and the join.
            if let Some(hit) = self.look_up(&key, tenant) {
                return Ok(hit);
            }
            match flight {
                Flight::Lead(leader) => {
                    return self.lead(leader, key, deployment, policy, source).await;
                }
                Flight::Crowded => break,
                Flight::Follow(follower) => {
                    match timeout_at(give_up_at, follower.wait()).await {
                        Ok(Ok(landed)) => match self.take(landed, arrived_at) {
                            Some(outcome) => return outcome,
                            // The data changed meanwhile, or the result may not be shared.
                            None if self.uncacheable.contains(&key) => break,
                            None => {}
                        },
                        Ok(Err(_abandoned)) => {}
                        Err(_) => return Err(pipeline.deadline_exceeded()),
                    }
                }
            }
        }
        self.run_alone(deployment, source, Via::NotStored(NotStored::Alone)).await
    }

    /// `None` if the policy bypasses the cache or could not be asked.
    async fn key(
        &self,
        deployment: &Arc<Deployment>,
        policy: &Arc<Policy>,
        source: &Source<'_>,
    ) -> Option<CacheKey> {
        let mut key = KeyBuilder::new(&deployment.key_prefix);
        policy.plan.hash(source, &mut key);
        if policy.has_keying() {
            let view = policy.view(&deployment.tenant().name, deployment.name(), source);
            match self.ask(policy, move |policy| policy.key(&view)).await? {
                Keying::Parts(parts) => {
                    for part in parts {
                        key.part(part.as_bytes());
                    }
                }
                Keying::Bypass(_) => return None,
            }
        }
        Some(key.finish())
    }

    /// Asks the policy's component on the guest threads. `None` if it fails, which is logged, or
    /// if no guest slot becomes free.
    async fn ask<T: Send + 'static>(
        &self,
        policy: &Arc<Policy>,
        ask: impl FnOnce(&Policy) -> Result<T, PolicyError> + Send + 'static,
    ) -> Option<T> {
        let slot = self.threads.slot().await.ok()?;
        let asked = Arc::clone(policy);
        let decision = self.threads.spawn(async move {
            let _slot = slot;
            ask(&asked)
        });
        match decision.await {
            Ok(Ok(decision)) => Some(decision),
            Ok(Err(error)) => {
                warn!(policy = policy.name.as_str(), "bypassing the cache: {error}");
                None
            }
            Err(error) => {
                warn!(policy = policy.name.as_str(), "bypassing the cache: {error}");
                None
            }
        }
    }

    fn look_up(&self, key: &CacheKey, tenant: &Tenant) -> Option<Served> {
        let entry = self.memory.get(key)?;
        let exact_at = entry.exact_at(&tenant.tags)?;
        let now = Instant::now();
        let via = Via::Hit { age: entry.age(now), ttl_left: entry.remaining_ttl(now) };
        Some(Served { answer: Arc::clone(&entry.value), exact_at, via })
    }

    /// What a follower that arrived at `arrived_at` may use of a leader's result: an answer or an
    /// error that was exact at that position, or still is.
    fn take(&self, landed: Landed, arrived_at: Position) -> Option<Result<Served, RunError>> {
        let holds = |as_of, reads: &Reads| as_of >= arrived_at || !reads.changed_after(as_of);
        match landed {
            Landed::Answer { answer, as_of, reads } => holds(as_of, &reads).then_some(Ok(Served {
                answer,
                exact_at: as_of,
                via: Via::Collapsed,
            })),
            Landed::Error { error, as_of, reads } => holds(as_of, &reads).then_some(Err(error)),
            Landed::NotShared => None,
        }
    }

    /// Leads a flight in a detached task: if the client disconnects, the followers still get
    /// their answer and the fill still happens.
    async fn lead(
        self: &Arc<Self>,
        leader: Leader<CacheKey, Landed>,
        key: CacheKey,
        deployment: &Arc<Deployment>,
        policy: &Arc<Policy>,
        source: &Source<'_>,
    ) -> Result<Served, RunError> {
        let request = Arc::new(policy.plan.request(source));
        let view = policy.view(&deployment.tenant().name, deployment.name(), source);
        let (answers, deployment, policy) =
            (Arc::clone(self), Arc::clone(deployment), Arc::clone(policy));
        let fill = self.detached.spawn(async move {
            let run = deployment.runner.run(&answers.threads, request).await;
            let kept_apart = if !policy.plan.coverage.covers(&run.parts) {
                Some(NotStored::ReadOutsideKey)
            } else if !run.reads.is_complete() {
                Some(NotStored::TooManyReads)
            } else {
                None
            };
            let shared = kept_apart.is_none();
            let tenant = deployment.tenant();
            let reads = tenant.tags.resolve(&run.reads.tags());
            let served = match run.made() {
                Ok((answer, outcome)) => {
                    let via = if let Some(reason) = kept_apart {
                        Via::NotStored(reason)
                    } else {
                        let fill = Fill {
                            key,
                            answer: &answer,
                            as_of: run.as_of,
                            reads: &run.reads,
                            cells: &reads,
                            tenant,
                        };
                        answers.fill(fill, &policy, view, outcome).await
                    };
                    Ok(Served { answer, exact_at: run.as_of, via })
                }
                Err(error) => Err(error),
            };
            // Before the followers wake, so that they do not lead one after another.
            let lasts = match &served {
                Ok(Served { via: Via::NotStored(reason), .. }) => reason.lasts(),
                _ => !shared,
            };
            if lasts {
                answers.uncacheable.note(key);
            }
            leader.finish(match &served {
                _ if !shared => Landed::NotShared,
                Ok(Served { answer, exact_at, .. }) => {
                    Landed::Answer { answer: Arc::clone(answer), as_of: *exact_at, reads }
                }
                Err(error) => Landed::Error { error: error.clone(), as_of: run.as_of, reads },
            });
            served
        });
        fill.await.unwrap_or(Err(RunError::Panicked))
    }

    /// Runs the pipeline for this request only, for the reason in `via`.
    async fn run_alone(
        &self,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        via: Via,
    ) -> Result<Served, RunError> {
        let request = match &deployment.policy {
            Some(policy) if !deployment.pipeline().writes => policy.plan.request(source),
            _ => source.request(),
        };
        let run = deployment.runner.run(&self.threads, Arc::new(request)).await;
        let (answer, _) = run.made()?;
        Ok(Served { answer, exact_at: run.as_of, via })
    }
}
