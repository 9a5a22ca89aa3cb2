//! Finds an answer in the shared tier, and promotes it to the memory tier.
//!
//! The shared tier can hold whatever any node of this truth has ever stored, so everything is checked
//! here that makes an answer exact at the position that it states: that its commit belongs to this
//! truth's history, that this node has applied it, and that nothing has changed since that it read.
//!
//! Out of scope: whether the shared tier's bytes are what a node has written (`weir_cache::tier`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weir_cache::CacheKey;
use weir_cache::encoding::Record;
use weir_cache::entry::{Entry, Moment};
use weir_cache::tier::{Miss, SharedTier};
use weir_core::Commit;
use weir_core::fault::{self, Fault};

use super::made::{Made, Origin};
use super::stale::When;
use super::{Answers, Served, StoredAnswer, Via, stated_if_valid};
use crate::deploy::Deployment;
use crate::invalidated::{Labels, is_valid};
use crate::tenant::reading::{Demand, Stated};

/// What the shared tier had.
pub(super) enum Promoted {
    /// An answer that may be served, and what it was made from.
    Fresh { served: Served, made: Arc<Made> },
    /// One that is old. The memory tier has it now, and may serve it stale at once.
    Stale,
    /// Nothing that may be served at once.
    Nothing,
}

/// An answer that the shared tier has, and that this history has led to.
pub(super) struct Found {
    pub(super) entry: Entry<Arc<StoredAnswer>>,
    /// When it was made.
    pub(super) as_of: Commit,
    /// The last position at which it is exact; `None` if that is over.
    pub(super) stated: Option<Commit>,
    /// For how long it is fresh in the shared tier.
    pub(super) ttl_left: Duration,
    /// Whether the memory tier may have it, too.
    pub(super) is_for_memory: bool,
}

impl Answers {
    /// The answer under this key, if the shared tier has one that may be served.
    pub(super) async fn promote(
        &self,
        key: CacheKey,
        deployment: &Deployment,
        demand: Demand,
        labels: impl Fn() -> Labels + Copy + Send,
    ) -> Promoted {
        let Some(shared) = &self.shared else { return Promoted::Nothing };
        let now = Moment::now();
        let found = self.find_shared(shared, key, deployment, demand, labels, now).await;
        let missed = found.as_ref().map_or_else(|miss| Some(*miss), Found::is_old);
        let reason = missed.map(Miss::reason);
        deployment.pipeline().counters.looked_up_shared(reason);
        deployment.tally.looked_up_shared(reason);
        let Ok(found) = found else { return Promoted::Nothing };
        let Found { entry, as_of, stated, ttl_left, is_for_memory } = found;
        let entry = Arc::new(entry);
        let is_of_use = stated.is_some() || !entry.lifetime.stale_after_change.is_zero();
        if is_for_memory && is_of_use {
            // Refused if it is too large, or may not be served stale.
            if let Ok(bytes) = self.memory.insert(key, Arc::clone(&entry)) {
                entry.value.hold(deployment, bytes);
            }
        }
        let Some(stated) = stated.filter(|_| missed.is_none()) else {
            let at_once = self.stale_under(&key, deployment, demand, labels, When::AtOnce);
            return if at_once.is_some() { Promoted::Stale } else { Promoted::Nothing };
        };
        let made = Arc::new(Made {
            as_of,
            reads: entry.depends_on.reads().clone(),
            cells: entry.reads.clone(),
            parts: entry.value.parts.clone(),
            degraded: false,
            compute: entry.compute,
        });
        let via = Via::SharedHit { age: entry.age(now.monotonic), ttl_left };
        let answer = Arc::clone(&entry.value);
        let (stated, origin) = (Stated::At(stated), Origin::Entry(entry));
        let served = Served { answer, stated, searchable: None, via, origin };
        Promoted::Fresh { served, made }
    }

    /// The answer that the shared tier has under this key, old or not. If it is still true, then at a
    /// position that satisfies `demand`.
    pub(super) async fn find_shared(
        &self,
        shared: &SharedTier<Arc<StoredAnswer>>,
        key: CacheKey,
        deployment: &Deployment,
        demand: Demand,
        labels: impl Fn() -> Labels,
        now: Moment,
    ) -> Result<Found, Miss> {
        let (tenant, longest) = (deployment.tenant(), &deployment.longest);
        let record: Record<Arc<StoredAnswer>> = shared.look_up(&key).await?;
        // The truth can be slow, too.
        let is_ours = timeout(shared.lookup_budget(), tenant.history.contains(record.as_of));
        if !is_ours.await.map_err(|_| Miss::TooSlow)? {
            return Err(Miss::OtherHistory);
        }
        let as_of = record.as_of;
        let ttl_left = record.shared.within(&longest.shared).ttl.saturating_sub(record.age(now));
        let is_for_memory = record.memory.is_some() && !longest.memory.ttl.is_zero();
        let entry = record.promote(&tenant.ended.tags, now);
        let unchecked = fault::is(Fault::PromotionUnchecked);
        let valid = || unchecked || is_valid(&entry, &tenant.ended, &labels);
        let stated = stated_if_valid(tenant, entry.depends_on.reads(), valid);
        match stated {
            Some(stated) if as_of > stated => return Err(Miss::Ahead),
            Some(stated) if stated.position < tenant.at_least(demand.at_least) => {
                return Err(Miss::TooOld);
            }
            Some(_) | None => {}
        }
        Ok(Found { entry, as_of, stated, ttl_left, is_for_memory })
    }
}

impl Found {
    /// Why it is not a hit, if so.
    pub(super) fn is_old(&self) -> Option<Miss> {
        match self.stated {
            None => Some(Miss::Changed),
            Some(_) if self.ttl_left.is_zero() => Some(Miss::Expired),
            Some(_) => None,
        }
    }
}
