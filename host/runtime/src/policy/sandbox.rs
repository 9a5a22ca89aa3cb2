//! The sandbox in which a policy decides: a fresh instance for each decision, without imports, bounded
//! by fuel, memory and time.
//!
//! Fuel decides whether a policy is cut off, because it is the same on every node. A decision yields
//! its thread as it uses it up, so that guests of others are not held up. The time limit is for a
//! machine that is too slow for the fuel. Out of scope: what is asked (`component`).

use std::time::Duration;

use tokio::time::timeout;
use wasmtime::component::{Component, HasData, Instance, InstancePre, Linker};
use wasmtime::{Store, format_err};
use weir_bindings::policy::FullCachePolicy;
use weir_bindings::policy::weir::policy::types as wit;
use weir_limits::turns::Turns;

use crate::engine::MAX_DECISION_MEMORY_BYTES;
use crate::engine::guests::PipelineGuests;
use crate::engine::memory::{GuestMemory, MemoryBudget};
use crate::engine::size::Size;

/// The most bytes of strings and lists that a decision may return.
const MAX_DECISION_BYTES: usize = 1 << 20;
/// A decision yields when it has used up this much fuel; about a tenth of a millisecond.
const FUEL_BETWEEN_YIELDS: u64 = 200_000;
/// The longest that a decision takes, with the time in which others run.
const MAX_DECISION_TIME: Duration = Duration::from_secs(2);

/// Makes the instances that decisions run in.
pub(super) struct Sandbox {
    pub(super) pre: InstancePre<MemoryBudget>,
    fuel: u64,
}

impl Sandbox {
    /// Links a component that imports nothing. A decision may use this much fuel.
    pub(super) fn new(
        engine: &wasmtime::Engine,
        component: &Component,
        fuel: u64,
    ) -> wasmtime::Result<Self> {
        let mut linker: Linker<MemoryBudget> = Linker::new(engine);
        // Only types: the world of policies imports no functions.
        FullCachePolicy::add_to_linker::<_, Nothing>(&mut linker, |_| NoHost)?;
        Ok(Self { pre: linker.instantiate_pre(component)?, fuel })
    }

    /// The memory budget of a decision about a request to a pipeline.
    pub(super) fn budget(guests: &PipelineGuests) -> MemoryBudget {
        guests.decision_budget()
    }

    /// The memory budget of what a policy is asked apart from requests: when it is loaded, before there are
    /// guests, and when it is tried in shadow.
    pub(super) fn budget_apart() -> MemoryBudget {
        let mut nobody = Turns::<()>::default();
        let group = nobody.add_group(1);
        let account = nobody.add_account(group, 1);
        let memory = GuestMemory::new(MAX_DECISION_MEMORY_BYTES);
        memory.budget(account, 1, Size::Small.shape(), MAX_DECISION_MEMORY_BYTES)
    }

    /// Calls `ask` with a fresh instance.
    pub(super) async fn decide<T>(
        &self,
        budget: MemoryBudget,
        ask: impl AsyncFnOnce(&mut Store<MemoryBudget>, &Instance) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let (decided, _fuel) = self.decide_measured(budget, ask).await;
        decided
    }

    /// The same, and says how much fuel it took.
    pub(super) async fn decide_measured<T>(
        &self,
        budget: MemoryBudget,
        ask: impl AsyncFnOnce(&mut Store<MemoryBudget>, &Instance) -> wasmtime::Result<T>,
    ) -> (wasmtime::Result<T>, u64) {
        let mut store = Store::new(self.pre.engine(), budget);
        store.limiter(|budget| budget);
        store.set_hostcall_fuel(MAX_DECISION_BYTES);
        let decided = async {
            store.set_fuel(self.fuel)?;
            store.fuel_async_yield_interval(Some(FUEL_BETWEEN_YIELDS))?;
            let instance = self.pre.instantiate_async(&mut store).await?;
            ask(&mut store, &instance).await
        };
        let decided = match timeout(MAX_DECISION_TIME, decided).await {
            Ok(decided) => decided,
            Err(_) => Err(format_err!("it took longer than {MAX_DECISION_TIME:?}")),
        };
        let left = store.get_fuel().unwrap_or_default();
        (decided, self.fuel.saturating_sub(left))
    }
}

/// The empty host of policies, which import no functions.
struct NoHost;
struct Nothing;

impl HasData for Nothing {
    type Data<'a> = NoHost;
}

impl wit::Host for NoHost {}
