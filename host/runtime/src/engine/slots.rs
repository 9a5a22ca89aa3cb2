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

/// A tenant may have two thirds of the slots.
const TENANT_GENEROSITY: usize = 2;
/// A pipeline may have half of the slots that its tenant could have.
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
    count: usize,
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
    /// So many slots. A request waits for one for at most `queue_timeout`.
    #[must_use]
    pub fn new(count: usize, clock: Clock, queue_timeout: Duration) -> Self {
        let tenants = Shares::new(count, TENANT_GENEROSITY, MAX_WAITING);
        Self { tenants, count, clock, queue_timeout }
    }

    /// The slots of a tenant, whose guests are charged to this group.
    #[must_use]
    pub fn of_tenant(&self, tenant: GroupId, weight: u32) -> TenantSlots {
        let pipelines = Shares::new(self.count, PIPELINE_GENEROSITY, MAX_WAITING);
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

    fn try_slot(&self) -> Option<Slot> {
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
