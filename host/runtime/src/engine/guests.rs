//! The guests of a server, of a tenant, and of a pipeline: what they run on and what they share.
//!
//! A pipeline has two kinds of guests: its runs, and the decisions of its cache policy. They are
//! charged to the same account, but have slots of their own, so that a hit whose key a policy computes
//! does not wait for a run.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use weir_limits::priority::Work;
use weir_limits::threads::{Account, FairThreads, Started};
use weir_limits::turns::GroupId;

use super::config;
use super::epoch::Clock;
use super::memory::{GuestMemory, MemoryBudget};
use super::slots::{NoSlot, PipelineSlots, Slots, TenantSlots};

/// What all guests of a server share. Dropping it stops them.
pub struct Guests {
    threads: FairThreads,
    /// For searches that would keep a guest's thread too long. They are charged to the pipeline.
    searching: FairThreads,
    runs: Slots,
    decisions: Slots,
    memory: GuestMemory,
}

/// The guests of one tenant.
pub struct TenantGuests {
    group: GroupId,
    searching: GroupId,
    runs: TenantSlots,
    decisions: TenantSlots,
}

/// The guests of one pipeline of a tenant.
pub struct PipelineGuests {
    account: Account,
    searching: Account,
    weight: u32,
    runs: PipelineSlots,
    decisions: PipelineSlots,
    memory: GuestMemory,
}

impl Guests {
    /// Starts the threads for the guests of so many tenants. Guests' timers, and what their host
    /// calls spawn, use the runtime `io`.
    ///
    /// # Errors
    /// The operating system refuses to start them.
    pub fn start(
        limits: &config::Engine,
        tenants: usize,
        clock: &Clock,
        io: &Handle,
    ) -> io::Result<Self> {
        let queue_timeout = Duration::from_millis(limits.queue_timeout_ms);
        let slots = |count| Slots::new(count, tenants, clock.clone(), queue_timeout);
        Ok(Self {
            threads: FairThreads::start(
                "weir-guest",
                Work::Guests,
                limits.guest_threads,
                Some(io),
            )?,
            searching: FairThreads::start("weir-search", Work::Shared, 0, None)?,
            runs: slots(limits.max_concurrent_guests),
            decisions: slots(limits.max_concurrent_decisions),
            memory: GuestMemory::new(limits.max_guests_memory_bytes),
        })
    }

    /// Adds a tenant.
    #[must_use]
    pub fn of_tenant(&self, weight: u32) -> TenantGuests {
        let group = self.threads.group(weight);
        TenantGuests {
            group,
            searching: self.searching.group(weight),
            runs: self.runs.of_tenant(group, weight),
            decisions: self.decisions.of_tenant(group, weight),
        }
    }

    /// Adds a pipeline of a tenant.
    #[must_use]
    pub fn of_pipeline(&self, tenant: &TenantGuests, weight: u32) -> PipelineGuests {
        let account = self.threads.account(tenant.group, weight);
        PipelineGuests {
            weight,
            runs: tenant.runs.of_pipeline(account.id(), weight),
            decisions: tenant.decisions.of_pipeline(account.id(), weight),
            memory: self.memory.clone(),
            searching: self.searching.account(tenant.searching, weight),
            account,
        }
    }
}

impl PipelineGuests {
    /// Waits for a slot and starts the run that `run` makes. It is made only then, because it is large
    /// and whoever waits for a slot, or only may have to, would be as large.
    ///
    /// # Errors
    /// No slot became free in time.
    pub async fn run<F>(
        &self,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Started<F::Output>, NoSlot>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.start(&self.runs, run).await
    }

    /// Waits for a slot and starts the decision of the pipeline's policy that `decision` makes.
    ///
    /// # Errors
    /// No slot became free in time.
    pub async fn decide<F>(
        &self,
        decision: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Started<F::Output>, NoSlot>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.start(&self.decisions, decision).await
    }

    async fn start<F>(
        &self,
        slots: &PipelineSlots,
        guest: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Started<F::Output>, NoSlot>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let slot = slots.slot().await?;
        Ok(self.account.spawn(async move {
            let _slot = slot;
            guest().await
        }))
    }

    /// Where the pipeline's large searches are done.
    #[must_use]
    pub fn searching(&self) -> &Account {
        &self.searching
    }

    /// The memory budget of a store that one of the guests runs in.
    #[must_use]
    pub fn memory_budget(&self, max_bytes: usize) -> MemoryBudget {
        self.memory.budget(self.account.id(), self.weight, max_bytes)
    }
}
