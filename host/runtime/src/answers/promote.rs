//! Finds an answer in the shared tier, and promotes it to the memory tier.
//!
//! The shared tier can hold whatever any node of this truth has ever stored, so everything is checked
//! here that makes an answer exact at the position that it states: that its commit belongs to this
//! truth's history, that this node has applied it, and that nothing has changed since that it read.
//!
//! Out of scope: whether the shared tier's bytes are what a node has written (`weir_cache::tier`).

use std::sync::Arc;

use tokio::time::timeout;
use weir_cache::CacheKey;
use weir_cache::encoding::Record;
use weir_cache::entry::Moment;
use weir_cache::tier::{Miss, SharedTier};
use weir_core::fault::{self, Fault};

use super::made::Made;
use super::stale::When;
use super::{Answers, Served, StoredAnswer, Via, stated_if_valid};
use crate::deploy::Deployment;
use crate::tenant::Tenant;
use crate::tenant::reading::{Demand, Stated};

/// What the shared tier had.
pub(super) enum Promoted {
    /// An answer that may be served, and what it was made from.
    Fresh { served: Served, made: Made },
    /// One whose ttl has passed. The memory tier has it now, and may serve it stale at once.
    Stale,
    /// Nothing that may be served at once.
    Nothing,
}

impl Answers {
    /// The answer under this key, if the shared tier has one that may be served.
    pub(super) async fn promote(
        &self,
        key: CacheKey,
        deployment: &Deployment,
        demand: Demand,
    ) -> Promoted {
        let Some(shared) = &self.shared else { return Promoted::Nothing };
        let found = self.look_up_shared(shared, key, deployment.tenant(), demand).await;
        let counters = &deployment.pipeline().counters;
        counters.looked_up_shared(found.as_ref().err().map(|miss| miss.reason()));
        match found {
            Ok(fresh) => fresh,
            Err(Miss::Expired) => {
                let at_once = self.stale_under(&key, deployment.tenant(), demand, When::AtOnce);
                if at_once.is_some() { Promoted::Stale } else { Promoted::Nothing }
            }
            Err(_) => Promoted::Nothing,
        }
    }

    async fn look_up_shared(
        &self,
        shared: &SharedTier<Arc<StoredAnswer>>,
        key: CacheKey,
        tenant: &Tenant,
        demand: Demand,
    ) -> Result<Promoted, Miss> {
        let record: Record<Arc<StoredAnswer>> = shared.look_up(&key).await?;
        // The truth can be slow, too.
        let is_ours = timeout(shared.lookup_budget(), tenant.history.contains(record.as_of));
        if !is_ours.await.map_err(|_| Miss::TooSlow)? {
            return Err(Miss::OtherHistory);
        }
        let now = Moment::now();
        let age = record.age(now);
        let (as_of, ttl_left) = (record.as_of, record.shared.ttl.saturating_sub(age));
        let is_in_memory = record.memory.is_some();
        let entry = record.promote(&tenant.tags, now);
        let reads = entry.depends_on.reads();
        let unchecked = fault::is(Fault::PromotionUnchecked);
        let valid = || unchecked || entry.is_valid(&tenant.tags);
        let stated = stated_if_valid(tenant, reads, valid).ok_or(Miss::Changed)?;
        if as_of > stated {
            return Err(Miss::Ahead);
        }
        if stated.position < tenant.at_least(demand.at_least) {
            return Err(Miss::TooOld);
        }
        if ttl_left.is_zero() {
            // Refused if it may not be served stale.
            let _ = is_in_memory.then(|| self.memory.insert(key, entry));
            return Err(Miss::Expired);
        }
        let made = Made { as_of, reads: reads.clone(), cells: entry.reads.clone() };
        let via = Via::SharedHit { age, ttl_left };
        let answer = Arc::clone(&entry.value);
        if is_in_memory {
            // Refused if it is too large.
            let _ = self.memory.insert(key, entry);
        }
        let served = Served { answer, stated: Stated::At(stated), searchable: None, via };
        Ok(Promoted::Fresh { served, made })
    }
}
