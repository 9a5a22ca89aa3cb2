//! The guests of a server, of a tenant, and of a pipeline: what they run on and what they share.
//!
//! A pipeline has two kinds of guests: its runs, and the decisions of its cache policy. They are
//! charged to the same account, but have slots of their own, so that a hit whose key a policy computes
//! does not wait for a run. The runs of large pipelines have slots of their own, too. In front of the slots
//! of runs is a [gate](weir_limits::gate), which lets in as many as are useful, of each client its share.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout_at;
use weir_limits::client::Client;
use weir_limits::gate::{Bounds, Gate, Refused};
use weir_limits::priority::Work;
use weir_limits::threads::{Account, FairThreads, Started};
use weir_limits::turns::GroupId;
use weir_limits::waited::Waited;

use super::MAX_DECISION_MEMORY_BYTES;
use super::config;
use super::epoch::Clock;
use super::memory::{GuestMemory, MemoryBudget};
use super::pool::Division;
use super::size::Size;
use super::slots::{NoSlot, PipelineSlots, Slots, TenantSlots};

/// Each pipeline may have so many runs at once for each thread, however long they wait: fewer could leave a
/// thread without work.
const LEAST_RUNS_PER_THREAD: usize = 6;

/// What all guests of a server share. Dropping it stops them.
pub struct Guests {
    threads: FairThreads,
    /// For searches that would keep a guest's thread too long. They are charged to the pipeline.
    searching: FairThreads,
    runs: Slots,
    large_runs: Slots,
    decisions: Slots,
    memory: GuestMemory,
    queue_timeout: Duration,
}

/// The guests of one tenant.
pub struct TenantGuests {
    group: GroupId,
    searching: GroupId,
    runs: TenantSlots,
    large_runs: TenantSlots,
    decisions: TenantSlots,
}

/// The guests of one pipeline of a tenant.
pub struct PipelineGuests {
    account: Account,
    /// The same account, for decisions: the gate goes by how long runs wait.
    deciding: Account,
    searching: Account,
    waited: Waited,
    weight: u32,
    size: Size,
    /// In front of the slots of runs.
    gate: Gate<Client>,
    /// How long a run waits for the gate and a slot.
    queue_timeout: Duration,
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
            large_runs: slots(limits.large.max_concurrent_guests),
            decisions: slots(limits.max_concurrent_decisions),
            memory: GuestMemory::new(Division::of(limits).used_bytes),
            queue_timeout,
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
            large_runs: self.large_runs.of_tenant(group, weight),
            decisions: self.decisions.of_tenant(group, weight),
        }
    }

    /// Adds a pipeline of a tenant, whose runs have this size.
    #[must_use]
    pub fn of_pipeline(&self, tenant: &TenantGuests, weight: u32, size: Size) -> PipelineGuests {
        let waited = Waited::default();
        let account = self.threads.account(tenant.group, weight, waited.clone());
        let searching = self.searching.account(tenant.searching, weight, waited.clone());
        let runs = match size {
            Size::Small => &tenant.runs,
            Size::Large => &tenant.large_runs,
        };
        let runs = runs.of_pipeline(account.id(), weight);
        let bounds = Bounds {
            least: self.threads.count() * LEAST_RUNS_PER_THREAD,
            most: runs.most(),
            patience: self.queue_timeout,
        };
        PipelineGuests {
            weight,
            size,
            gate: Gate::new(bounds, waited.clone()),
            queue_timeout: self.queue_timeout,
            waited,
            runs,
            decisions: tenant.decisions.of_pipeline(account.id(), weight),
            memory: self.memory.clone(),
            searching,
            deciding: account.not_counting(),
            account,
        }
    }
}

impl PipelineGuests {
    /// Waits for a slot and starts the run that `run` makes for a client. It is made only then, because it
    /// is large and whoever waits for a slot, or only may have to, would be as large.
    ///
    /// # Errors
    /// No slot became free in time, or none would.
    pub async fn run<F>(
        &self,
        client: Client,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Started<F::Output>, NoSlot>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let began = Instant::now();
        let place = async {
            let pass = self.gate.enter(&client).await.map_err(|Refused| NoSlot)?;
            let came = Instant::now();
            let slot = self.runs.slot().await?;
            self.waited.add(came.elapsed());
            Ok((pass, slot))
        };
        let place = timeout_at((began + self.queue_timeout).into(), place);
        let place = place.await.unwrap_or(Err(NoSlot))?;
        Ok(start(&self.account, place, run))
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
        let slot = self.decisions.slot().await?;
        Ok(start(&self.deciding, slot, decision))
    }

    /// What everything that the runs wait for in the host adds up in.
    #[must_use]
    pub fn waited(&self) -> &Waited {
        &self.waited
    }

    /// How many runs there may be at once now.
    #[must_use]
    pub fn max_runs(&self) -> usize {
        self.gate.limit()
    }

    /// Where the pipeline's large searches are done.
    #[must_use]
    pub fn searching(&self) -> &Account {
        &self.searching
    }

    /// The memory budget of a run.
    #[must_use]
    pub fn memory_budget(&self, max_bytes: usize) -> MemoryBudget {
        self.memory.budget(self.account.id(), self.weight, self.size.shape(), max_bytes)
    }

    /// The memory budget of a decision.
    #[must_use]
    pub fn decision_budget(&self) -> MemoryBudget {
        let shape = Size::Small.shape();
        self.memory.budget(self.account.id(), self.weight, shape, MAX_DECISION_MEMORY_BYTES)
    }
}

/// Starts a guest, which keeps its `place` until it has ended.
fn start<F>(
    account: &Account,
    place: impl Send + 'static,
    guest: impl FnOnce() -> F + Send + 'static,
) -> Started<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    account.spawn(async move {
        let _place = place;
        guest().await
    })
}
