//! The guests of a server, of a tenant, and of a pipeline: what they run on and what they share.
//!
//! A pipeline has two kinds of guests: its runs, and the decisions of its cache policy. They are
//! charged to the same account, but have slots of their own, so that a hit whose key a policy computes
//! does not wait for a run. The runs of large pipelines have slots of their own, too. In front of the slots
//! of runs is a [gate](weir_limits::gate), which lets in as many as are useful, of each client its share.
//! Guests that compute for long go on on threads of a lower priority.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout_at;
use weir_limits::client::Client;
use weir_limits::gate::{Bounds, Entry, Gate, Refused};
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
    /// For those that compute for long.
    long: FairThreads,
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
    long: GroupId,
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

/// Why there was no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// No slot became free in time, or none would.
    NoSlot,
    /// Its deadline came while it waited for one.
    DeadlineExceeded,
    /// It panicked.
    Panicked,
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
        let threads = |name, work| FairThreads::start(name, work, limits.guest_threads, Some(io));
        let slots = |count| Slots::new(count, tenants, clock.clone(), queue_timeout);
        Ok(Self {
            threads: threads("weir-guest", Work::Short)?,
            long: threads("weir-long-guest", Work::Long)?,
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
            long: self.long.group(weight),
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
        let long = self.long.account(tenant.long, weight, waited.clone());
        let account = self.threads.account(tenant.group, weight, waited.clone()).then(long);
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
    /// Waits for a slot until the `deadline`, and for the run that `run` makes for a client. It is made only
    /// when there is a slot, because it is large and whoever waits for one, or only may have to, would be
    /// as large. Dropping the future ends the run.
    ///
    /// # Errors
    /// No slot became free in time or none would, or the run panicked.
    pub async fn run<F>(
        &self,
        client: Client,
        deadline: Instant,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> Result<F::Output, NotRun>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let entry = self.gate.enter(&client).map_err(|Refused| NotRun::NoSlot)?;
        if matches!(entry, Entry::Now(_))
            && let Some(slot) = self.runs.try_slot()
        {
            return start(&self.account, (entry, slot), run).ended().await.ok_or(NotRun::Panicked);
        }
        let started = self.account.spawn_after(self.place(entry, deadline), |place| async {
            let _place = place;
            run().await
        });
        // Apart from the future of a run that need not wait.
        Box::pin(started.ended()).await.unwrap_or(Err(NotRun::Panicked))
    }

    /// Waits for a place. When it becomes free, the run begins at once: if this were to be waited for
    /// elsewhere, the threads would have nothing to do meanwhile.
    fn place(
        &self,
        entry: Entry<Client>,
        deadline: Instant,
    ) -> impl Future<Output = Result<impl Send + 'static, NotRun>> + Send + 'static {
        let give_up_at = deadline.min(Instant::now() + self.queue_timeout);
        let late = if give_up_at < deadline { NotRun::NoSlot } else { NotRun::DeadlineExceeded };
        let (runs, waited) = (self.runs.clone(), self.waited.clone());
        let place = async move {
            let pass = match entry {
                Entry::Now(pass) => pass,
                Entry::Later(later) => later.entered().await.map_err(|Refused| NotRun::NoSlot)?,
            };
            let came = Instant::now();
            let slot = runs.slot().await.map_err(|NoSlot| NotRun::NoSlot)?;
            waited.add(came.elapsed());
            Ok((pass, slot))
        };
        async move { timeout_at(give_up_at.into(), place).await.unwrap_or(Err(late)) }
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
