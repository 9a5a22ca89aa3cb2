//! Flights: one lookup in the shared tier, and one run, for all who ask the same at the same time.
//!
//! A flight is a detached task: if the client that started it disconnects, the followers still get
//! their answer, and as a rule the fill still happens. Out of scope: which request leads and which follows
//! (`answers`).

use std::pin::pin;
use std::sync::Arc;

use tokio::select;
use tokio::sync::OwnedSemaphorePermit;
use weir_cache::CacheKey;
use weir_cache::single_flight::Leader;
use weir_core::fault::{self, Fault};
use weir_search::progress::View;

use super::failures::Asked;
use super::fill::Fill;
use super::made::{Made, Origin};
use super::promote::Promoted;
use super::served::Failure;
use super::{Answers, Failed, NotStored, Question, Served, StoredAnswer, Via, stated_if_valid};
use crate::deploy::Deployment;
use crate::invalidated::Labels;
use crate::pipeline::{Run, RunError};
use crate::policy::Policy;
use crate::policy::component::RequestView;
use crate::request::{KeyedRequest, RequestId};
use crate::tenant::Tenant;
use crate::tenant::invalidation::Ended;
use crate::tenant::reading::{Demand, Stated};
use crate::wishes::Freshness;

/// What a leader hands to its followers.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// An answer, or an error that every follower would also get, and what it was made from, so
    /// that each follower can check whether it is still valid.
    Shared { outcome: Result<Arc<StoredAnswer>, Failure>, made: Arc<Made> },
    /// The result depends on something outside the key, or on more than can be recorded, or has
    /// no one position: each follower tries again or runs alone.
    NotShared,
}

/// Who waits for a flight.
pub(super) enum Attended {
    /// The client that leads it, and all who follow.
    ByClients,
    /// Nobody, at first: it has one of the pipeline's runs that nobody waits for.
    ByNobody { _run: OwnedSemaphorePermit },
}

/// Whether a flight asks the shared tier before it runs the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// It does.
    Asked,
    /// It does not: what is wanted is newer than what is there.
    Skipped,
}

/// A flight that is about to start, with all that it needs of the request that led to it.
pub(super) struct Departing {
    answers: Arc<Answers>,
    leader: Leader<CacheKey, Landed>,
    key: CacheKey,
    deployment: Arc<Deployment>,
    policy: Arc<Policy>,
    request: Arc<KeyedRequest>,
    request_id: RequestId,
    view: RequestView,
    demand: Demand,
    labels: Labels,
    attended: Attended,
    shared: Shared,
}

impl Answers {
    pub(super) fn departing(
        self: &Arc<Self>,
        leader: Leader<CacheKey, Landed>,
        question: Question<'_>,
        attended: Attended,
        shared: Shared,
    ) -> Departing {
        let Question { key, deployment, policy, source, demand, .. } = question;
        Departing {
            answers: Arc::clone(self),
            leader,
            key,
            deployment: Arc::clone(deployment),
            policy: Arc::clone(policy),
            request: Arc::new(policy.plan.request(source)),
            request_id: source.id.clone(),
            view: policy.view(&deployment.tenant().name, deployment.name(), source),
            demand,
            labels: question.labels(),
            attended,
            shared,
        }
    }

    /// Leads a flight for a client. `None` if it ended without an answer: there may be one in the
    /// memory tier now.
    pub(super) async fn lead(
        self: &Arc<Self>,
        leader: Leader<CacheKey, Landed>,
        question: Question<'_>,
    ) -> Option<Result<Served, Failed>> {
        // This client follows, too, until this future is dropped.
        let follower = leader.follow();
        let shared = match question.wishes.freshness {
            Freshness::Any => Shared::Asked,
            Freshness::Within(_) | Freshness::New => Shared::Skipped,
        };
        let flight = self.departing(leader, question, Attended::ByClients, shared);
        let ended = self.detached.spawn(flight.fly()).await;
        drop(follower);
        ended.unwrap_or_else(|_| Some(Err(RunError::Panicked.into())))
    }
}

impl Departing {
    /// Finds or makes an answer, and gives it to all who follow. `None` if the memory tier now has one
    /// that may be served stale at once, or if nobody waits any more and nobody may do it for nobody.
    pub(super) async fn fly(self) -> Option<Result<Served, Failed>> {
        let Self { answers, key, deployment, .. } = &self;
        if self.shared == Shared::Asked {
            match answers.promote(*key, deployment, self.demand, || self.labels.clone()).await {
                Promoted::Fresh { served, made } => {
                    let outcome = Ok(Arc::clone(&served.answer));
                    self.leader.finish(Landed::Shared { outcome, made });
                    return Some(Ok(served));
                }
                Promoted::Stale if matches!(self.attended, Attended::ByClients) => return None,
                Promoted::Stale | Promoted::Nothing => {}
            }
        }
        let run = self.run().await?;
        Some(self.land(run).await)
    }

    /// Runs the pipeline. `None` if all who waited for the answer have left, and the pipeline already
    /// has as many runs that nobody waits for as it may have.
    async fn run(&self) -> Option<Run> {
        let runner = &self.deployment.runner;
        let mut run = pin!(runner.run(Arc::clone(&self.request), self.demand));
        if let Attended::ByNobody { .. } = self.attended {
            return Some(run.await);
        }
        select! {
            biased;
            run = &mut run => Some(run),
            () = self.leader.unfollowed() => {
                let _unattended = runner.unattended.try_acquire().ok()?;
                Some(run.await)
            }
        }
    }

    /// Stores what a run has led to, and gives it to all who follow.
    async fn land(self, run: Run) -> Result<Served, Failed> {
        assert!(!fault::is(Fault::FlightPanics), "the fault was asked for");
        let Self { answers, leader, key, deployment, policy, view, .. } = self;
        let kept_apart = kept_apart(&run, &policy);
        let tenant = deployment.tenant();
        let made = Made::of(&run, |reads| tenant.ended.tags.resolve(&reads.tags()));
        let served = match (run.made(), &made) {
            (Ok((answer, outcome)), Some(made)) => {
                let via = match kept_apart {
                    Some(reason) => Via::NotStored(reason),
                    None => {
                        let request_id = &self.request_id;
                        let fill = Fill { key, answer: &answer, made, tenant, request_id };
                        answers.fill(fill, &deployment, &policy, view, outcome).await
                    }
                };
                let origin = Origin::Made(Arc::clone(made));
                Ok(Served { origin, ..run.served(answer, via) })
            }
            (Ok((answer, _)), None) => Ok(run.served(answer, Via::NotStored(NotStored::Split))),
            (Err(error), made) => {
                let (guests, request_id) = (&*deployment.runner.guests, &self.request_id);
                let asked = Asked { policy: &policy, guests, view, request_id };
                let (failure, keep) = asked.about(error, &run).await;
                if let (Some(ttl), Some(made), None) = (keep, made, kept_apart) {
                    answers.keep_failure(key, &failure, made, run.compute, ttl);
                }
                Err(run.failed(failure))
            }
        };
        // Before the followers wake, so that they do not lead one after another.
        let lasts = match &served {
            Ok(Served { via: Via::NotStored(reason), .. }) => reason.lasts(),
            _ => kept_apart.is_some_and(NotStored::lasts),
        };
        if lasts {
            answers.uncacheable.note(key);
            if served.is_ok() {
                // Otherwise an older one could be served stale.
                answers.memory.remove(&key);
            }
        }
        if let Attended::ByNobody { .. } = self.attended {
            let is_stored = matches!(&served, Ok(Served { via: Via::Stored, .. }));
            if !is_stored {
                answers.refreshed_in_vain.note(key);
            }
            deployment.pipeline().counters.refreshed(is_stored);
        }
        leader.finish(match (&served, made, kept_apart) {
            (Ok(Served { answer, .. }), Some(made), None) => {
                Landed::Shared { outcome: Ok(Arc::clone(answer)), made }
            }
            (Err(failed), Some(made), None) if !failed.error.is_about_positions() => {
                Landed::Shared { outcome: Err(failed.for_others()), made }
            }
            _ => Landed::NotShared,
        });
        served
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

/// What a follower that arrived when `arrived` was published may use of a leader's result: an
/// outcome that is still valid, or was when it arrived.
pub(super) fn take(
    landed: Landed,
    tenant: &Tenant,
    arrived: &View,
) -> Option<Result<Served, Failed>> {
    let Landed::Shared { outcome, made } = landed else { return None };
    let Made { as_of, reads, cells, .. } = &*made;
    let Ended { tags, .. } = &*tenant.ended;
    if tenant.ended.newest() > as_of.position {
        // The follower may have come after something ended what the leader began before it.
        return None;
    }
    let valid = || as_of.position >= tags.floor() && !cells.changed_after(as_of.position);
    let stated = stated_if_valid(tenant, reads, valid).or_else(|| {
        let on_arrival = arrived.any_applied(reads.collections());
        (*as_of >= on_arrival).then_some(*as_of)
    })?;
    let stated = Stated::At(stated);
    Some(match outcome {
        Ok(answer) => {
            let (via, origin) = (Via::Collapsed, Origin::Made(Arc::clone(&made)));
            Ok(Served { answer, stated, searchable: None, via, origin })
        }
        Err(failure) => Err(Failed::from(failure).at(|| stated)),
    })
}
