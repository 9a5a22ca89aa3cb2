//! wasmtime's setup: an engine for pipelines of each size, an engine for policies, the threads that
//! guests run on, and the clock that interrupts them.
//!
//! [`component`] reads and compiles components, and [`epoch`] is the clock. [`guests`] puts together
//! what guests share: threads, [`slots`] and [`memory`]. `pool` is where instances come from, and [`size`]
//! what they have. Out of scope: what guests may import (`capability`) and how they are called
//! (`pipeline`, `policy`).

pub mod component;
pub mod config;
pub mod epoch;
pub mod guests;
pub mod memory;
mod pool;
pub mod size;
pub mod slots;

use thiserror::Error;
use wasmtime::Config;

use epoch::{Clock, Ticker};
use pool::{Division, Places, pooled};
use size::Size;

/// The memory of one decision of a policy. It is small because a policy sees one request at a time.
pub const MAX_DECISION_MEMORY_BYTES: usize = 16 << 20;
/// The engines, and the thread that advances the epoch of the pipelines' engines.
pub struct Engines {
    /// Pipelines: asynchronous, interrupted by epochs, pooled.
    small: wasmtime::Engine,
    /// The same for large ones, if there are any.
    large: Option<wasmtime::Engine>,
    /// Policies: bounded by fuel, so a decision is the same on every node; pooled.
    pub policies: wasmtime::Engine,
    ticker: Ticker,
}

/// Why the engines cannot be set up.
#[derive(Debug, Error)]
pub enum EngineError {
    /// wasmtime refuses the configuration, or a thread cannot be started.
    #[error("wasmtime cannot be set up on this machine: {0:#}")]
    Wasmtime(#[from] wasmtime::Error),
    /// The machine does not allow a pool, and one is required.
    #[error(
        "wasmtime cannot reserve {reserved_gib} GiB of address space for a pool of {guests} guests: \
         {error:#}. Allow the process more of it (`ulimit -v`, the limits of the container), lower \
         {key}, or set engine.pool = \"preferred\" to allocate instances on demand"
    )]
    NoPool {
        /// How many guests the pool is for.
        guests: usize,
        /// The key of the configuration that says so.
        key: &'static str,
        /// The address space of the memories of so many guests.
        reserved_gib: u64,
        /// wasmtime's reason.
        error: wasmtime::Error,
    },
}

impl Engines {
    /// Sets up the engines for pipelines of these sizes, and starts the clock.
    ///
    /// # Errors
    /// wasmtime refuses the configuration on this machine, or the pools that are required, or the
    /// clock's thread cannot be started.
    pub fn new(
        limits: &config::Engine,
        sizes: impl IntoIterator<Item = Size>,
    ) -> Result<Self, EngineError> {
        let small = pipeline_engine(limits, Size::Small)?;
        let has_large = sizes.into_iter().any(|size| size == Size::Large)
            && limits.large.max_concurrent_guests > 0;
        let large = has_large.then(|| pipeline_engine(limits, Size::Large)).transpose()?;
        let policies = policy_engine(limits)?;
        let interrupted: Vec<_> = std::iter::once(&small).chain(&large).collect();
        let ticker = Ticker::start(&interrupted).map_err(wasmtime::Error::from)?;
        Ok(Self { small, large, policies, ticker })
    }

    /// The engine of pipelines of this size, if they are allowed.
    #[must_use]
    pub fn of_pipelines(&self, size: Size) -> Option<&wasmtime::Engine> {
        match size {
            Size::Small => Some(&self.small),
            Size::Large => self.large.as_ref(),
        }
    }

    /// The clock that running pipelines register with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.ticker.clock()
    }
}

/// The settings of all engines. Features that no plugin needs are off.
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
        .wasm_custom_page_sizes(false);
    config
}

fn pipeline_engine(limits: &config::Engine, size: Size) -> Result<wasmtime::Engine, EngineError> {
    let mut config = base_config();
    config.wasm_component_model_async(true).epoch_interruption(true);
    let (engine, guests, key) = match size {
        Size::Small => ("pipelines", limits.max_concurrent_guests, "engine.max_concurrent_guests"),
        Size::Large => (
            "large-pipelines",
            limits.large.max_concurrent_guests,
            "engine.large.max_concurrent_guests",
        ),
    };
    let places = Places {
        engine,
        guests,
        key,
        max_memory_bytes: limits.max_memory_bytes_of(size),
        shape: size.shape(),
        kept_bytes_of_guest: Division::of(limits).kept_bytes_of_guest,
    };
    pooled(config, &places, limits.pool)
}

/// Uses fuel and not epochs: fuel does not depend on the machine's speed, so a policy runs out of
/// it at the same point on every node.
fn policy_engine(limits: &config::Engine) -> Result<wasmtime::Engine, EngineError> {
    let mut config = base_config();
    config.concurrency_support(false).consume_fuel(true).cranelift_nan_canonicalization(true);
    let places = Places {
        engine: "policies",
        guests: limits.max_concurrent_decisions,
        key: "engine.max_concurrent_decisions",
        max_memory_bytes: MAX_DECISION_MEMORY_BYTES,
        shape: Size::Small.shape(),
        kept_bytes_of_guest: Division::of(limits).kept_bytes_of_guest,
    };
    pooled(config, &places, limits.pool)
}
