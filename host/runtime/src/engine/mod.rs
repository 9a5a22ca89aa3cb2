//! wasmtime's setup: an engine for pipelines, an engine for policies, the threads that guests
//! run on, and the clock that interrupts them.
//!
//! [`component`] reads and compiles components, and [`epoch`] is the clock. [`guests`] puts together
//! what guests share: threads, [`slots`] and [`memory`]. Out of scope: what guests may import
//! (`capability`) and how they are called (`pipeline`, `policy`).

pub mod component;
pub mod config;
pub mod epoch;
pub mod guests;
pub mod memory;
pub mod slots;

use thiserror::Error;
use tracing::warn;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use epoch::{Clock, Ticker};

/// Core instances of one component. Those made by `wit-component` have three or four.
const MAX_CORE_INSTANCES: u32 = 16;
/// Memories of one component: its own and one of an adapter.
const MAX_MEMORIES: u32 = 2;
/// Tables of one component.
const MAX_TABLES: u32 = 8;
/// Elements of one table.
const MAX_TABLE_ELEMENTS: usize = 16_384;
/// The wasm stack of one guest. A guest that needs more traps.
const MAX_WASM_STACK_BYTES: usize = 512 << 10;
/// The stack of a guest's fiber, for its wasm frames and the host functions that it calls.
const ASYNC_STACK_BYTES: usize = 1 << 20;
/// The memory of one decision of a policy. It is small because a policy sees one request at a time.
pub const MAX_DECISION_MEMORY_BYTES: usize = 16 << 20;
/// This much of a memory or table stays mapped between requests: zeroing it costs less than the
/// system calls that would return it to the operating system.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The engines, and the thread that advances the epoch of the pipelines' engine.
pub struct Engines {
    /// Pipelines: asynchronous, interrupted by epochs, pooled.
    pub pipelines: wasmtime::Engine,
    /// Policies: bounded by fuel, so a decision is the same on every node; pooled.
    pub policies: wasmtime::Engine,
    ticker: Ticker,
}

/// Why the engines cannot be set up.
#[derive(Debug, Error)]
#[error("wasmtime cannot be set up on this machine: {0:#}")]
pub struct EngineError(#[from] wasmtime::Error);

impl Engines {
    /// Sets up both engines and starts the clock.
    ///
    /// # Errors
    /// wasmtime refuses the configuration on this machine, or the clock's thread cannot be
    /// started.
    pub fn new(limits: &config::Engine) -> Result<Self, EngineError> {
        let pipelines = pipeline_engine(limits)?;
        let policies = policy_engine(limits)?;
        let ticker = Ticker::start(&pipelines).map_err(wasmtime::Error::from)?;
        Ok(Self { pipelines, policies, ticker })
    }

    /// The clock that running pipelines register with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.ticker.clock()
    }
}

/// The settings of both engines. Features that no plugin needs are off.
fn base_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .max_wasm_stack(MAX_WASM_STACK_BYTES);
    config
}

fn pipeline_engine(limits: &config::Engine) -> Result<wasmtime::Engine, wasmtime::Error> {
    let mut config = base_config();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .async_stack_size(ASYNC_STACK_BYTES);
    let pool = pool(limits.max_concurrent_guests, limits.max_memory_bytes);
    pooled(config, pool)
}

/// An engine whose instances come from `pool`, or are allocated on demand where the machine does not
/// allow that.
fn pooled(
    mut config: Config,
    pool: PoolingAllocationConfig,
) -> Result<wasmtime::Engine, wasmtime::Error> {
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match wasmtime::Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // The pool reserves address space up front, which a container may not allow.
            warn!("instances are not pooled but allocated on demand: {error:#}");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            wasmtime::Engine::new(&config)
        }
    }
}

/// A pool for so many guests at once, each with memories of at most so many bytes.
fn pool(max_guests: usize, max_memory_bytes: usize) -> PoolingAllocationConfig {
    let guests = u32::try_from(max_guests).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(guests)
        .total_core_instances(guests.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(guests.saturating_mul(MAX_MEMORIES))
        .total_tables(guests.saturating_mul(MAX_TABLES))
        .total_stacks(guests.saturating_mul(2))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(max_memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(decommit_batch_size(max_guests));
    pool
}

/// While one thread decommits a batch, its parts of the pool are not available to any other.
/// Batches are small compared to the number of guests, so that a guest with a guest slot also
/// finds room in the pool.
fn decommit_batch_size(places: usize) -> usize {
    (places / 8).clamp(1, 32)
}

/// Uses fuel and not epochs: fuel does not depend on the machine's speed, so a policy runs out of
/// it at the same point on every node.
fn policy_engine(limits: &config::Engine) -> Result<wasmtime::Engine, wasmtime::Error> {
    let mut config = base_config();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .async_stack_size(ASYNC_STACK_BYTES)
        .cranelift_nan_canonicalization(true);
    pooled(config, pool(limits.max_concurrent_decisions, MAX_DECISION_MEMORY_BYTES))
}
