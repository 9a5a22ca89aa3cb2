//! Guest slots: how many guests there may be, and how many of one pipeline and of one tenant.
//!
//! A slot allows one guest to exist. Pipelines share the slots of their tenant, and tenants those of
//! the server, by the rule of [`Shares`]: however greedy the others are, some are left. Decisions of
//! policies have slots of their own, so a hit never waits for a run. Out of scope: whose guest
//! computes next (`threads`), and guests' memory (`memory`).

use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use weir_limits::shares::{Crowded, Share, Shares};
use weir_limits::turns::{AccountId, GroupId};

use super::epoch::{AtWork, Clock};

/// One of several tenants may have two thirds of the slots.
const TENANT_GENEROSITY: usize = 2;
/// A pipeline may have half of the slots that its tenant may have.
const PIPELINE_GENEROSITY: usize = 1;
/// The most requests that wait for a slot of one pipeline. Further ones are refused at once.
const MAX_WAITING: usize = 1_024;

/// No guest slot became free in time.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("all guest slots are busy")]
pub struct NoSlot;

/// The slots of a server, of one kind.
#[derive(Clone)]
pub struct Slots {
    tenants: Shares<GroupId>,
    /// How many one tenant may have.
    of_tenant: usize,
    clock: Clock,
    queue_timeout: Duration,
}

/// The slots that one tenant can have.
#[derive(Clone)]
pub struct TenantSlots {
    slots: Slots,
    tenant: GroupId,
    weight: usize,
    pipelines: Shares<AccountId>,
}

/// The slots that one pipeline of a tenant can have.
#[derive(Clone)]
pub struct PipelineSlots {
    of: TenantSlots,
    pipeline: AccountId,
    weight: usize,
}

/// A guest slot. The epoch advances while it is held.
pub struct Slot {
    _of_tenant: Share<GroupId>,
    _of_pipeline: Share<AccountId>,
    _at_work: AtWork,
}

impl Slots {
    /// So many slots, for so many tenants. A request waits for one for at most `queue_timeout`.
    #[must_use]
    pub fn new(count: usize, tenants: usize, clock: Clock, queue_timeout: Duration) -> Self {
        // Nothing has to be left where there is nobody else.
        let (generosity, of_tenant) = match tenants {
            0 | 1 => (count, count),
            _ => {
                let of_tenant = count * TENANT_GENEROSITY / (TENANT_GENEROSITY + 1);
                (TENANT_GENEROSITY, of_tenant.max(1))
            }
        };
        let tenants = Shares::new(count, generosity, MAX_WAITING);
        Self { tenants, of_tenant, clock, queue_timeout }
    }

    /// The slots of a tenant, whose guests are charged to this group.
    #[must_use]
    pub fn of_tenant(&self, tenant: GroupId, weight: u32) -> TenantSlots {
        let pipelines = Shares::new(self.of_tenant, PIPELINE_GENEROSITY, MAX_WAITING);
        TenantSlots { slots: self.clone(), tenant, weight: weight as usize, pipelines }
    }
}

impl TenantSlots {
    /// The slots of a pipeline, whose guests are charged to this account.
    #[must_use]
    pub fn of_pipeline(&self, pipeline: AccountId, weight: u32) -> PipelineSlots {
        PipelineSlots { of: self.clone(), pipeline, weight: weight as usize }
    }
}

impl PipelineSlots {
    /// How many slots the pipeline can have while nobody else has any.
    #[must_use]
    pub fn most(&self) -> usize {
        let parts = PIPELINE_GENEROSITY * self.weight.max(1);
        ((self.of.slots.of_tenant + 1) * parts / (parts + 1)).max(1)
    }

    /// Waits for a slot, which is free again when the returned value is dropped.
    ///
    /// # Errors
    /// No slot became free in time, or too many requests wait already.
    pub async fn slot(&self) -> Result<Slot, NoSlot> {
        if let Some(slot) = self.try_slot() {
            return Ok(slot);
        }
        match timeout(self.of.slots.queue_timeout, self.later()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(Crowded)) | Err(_) => Err(NoSlot),
        }
    }

    /// A slot, if one is free.
    #[must_use]
    pub fn try_slot(&self) -> Option<Slot> {
        let TenantSlots { slots, tenant, weight, pipelines } = &self.of;
        let of_pipeline = pipelines.try_take(&self.pipeline, self.weight, 1)?;
        let of_tenant = slots.tenants.try_take(tenant, *weight, 1)?;
        Some(Slot {
            _of_tenant: of_tenant,
            _of_pipeline: of_pipeline,
            _at_work: slots.clock.begin(),
        })
    }

    async fn later(&self) -> Result<Slot, Crowded> {
        let TenantSlots { slots, tenant, weight, pipelines } = &self.of;
        // The pipeline's first: while it is held and the tenant's is not, it keeps only pipelines of
        // the same tenant from theirs.
        let of_pipeline = pipelines.take(&self.pipeline, self.weight, 1).await?;
        let of_tenant = slots.tenants.take(tenant, *weight, 1).await?;
        Ok(Slot { _of_tenant: of_tenant, _of_pipeline: of_pipeline, _at_work: slots.clock.begin() })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use weir_limits::turns::Turns;

    use super::*;
    use crate::engine::epoch::Ticker;

    /// Slots of two pipelines of each of so many tenants, of which there are 12 in all.
    fn pipelines(tenants: usize) -> (Ticker, Vec<[PipelineSlots; 2]>) {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::start(&[&engine]).unwrap();
        let slots = Slots::new(12, tenants, ticker.clock(), Duration::from_millis(1));
        let mut accounts = Turns::<()>::default();
        let pipelines = (0..tenants).map(|_| {
            let group = accounts.add_group(1);
            let tenant = slots.of_tenant(group, 1);
            [(); 2].map(|()| tenant.of_pipeline(accounts.add_account(group, 1), 1))
        });
        let pipelines = pipelines.collect();
        (ticker, pipelines)
    }

    /// Takes slots until one is refused.
    fn take_all(pipeline: &PipelineSlots) -> Vec<Slot> {
        std::iter::from_fn(|| pipeline.try_slot()).collect()
    }

    #[test]
    fn a_greedy_pipeline_leaves_slots_for_others_of_its_tenant() {
        let (_ticker, pipelines) = pipelines(1);
        let [greedy, other] = &pipelines[0];
        let most = greedy.most();
        let greedy = take_all(greedy);
        let other = take_all(other);
        assert_eq!((greedy.len(), other.len(), most), (6, 3, 6));
    }

    #[test]
    fn a_greedy_tenant_leaves_slots_for_other_tenants() {
        let (_ticker, pipelines) = pipelines(2);
        let greedy: Vec<_> = pipelines[0].iter().map(take_all).collect();
        let other: Vec<_> = pipelines[1].iter().map(take_all).collect();
        assert_eq!(greedy.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(other.iter().map(Vec::len).collect::<Vec<_>>(), [4, 0]);
    }

    #[tokio::test]
    async fn a_request_waits_for_a_slot_but_not_forever() {
        let (_ticker, pipelines) = pipelines(1);
        let mut held = take_all(&pipelines[0][0]);
        assert_eq!(pipelines[0][0].slot().await.err(), Some(NoSlot));
        held.pop();
        assert!(pipelines[0][0].slot().await.is_ok());
    }
}
