//! wasmtime's setup: an engine for pipelines of each size, an engine for policies, the threads that
//! guests run on, and the clock that interrupts them.
//!
//! [`component`] reads and compiles components, [`compile`] does so in a process of its own and keeps the
//! code, and [`epoch`] is the clock. [`guests`] puts together what guests share: threads, [`slots`] and
//! [`memory`]. [`kind`] is what an engine sets, `pool` where instances come from, and [`size`] what they have. Out of scope: what guests may import (`capability`) and how they are called
//! (`pipeline`, `policy`).

pub mod compile;
pub mod component;
pub mod config;
pub mod epoch;
pub mod guests;
pub mod kind;
pub mod memory;
mod pool;
pub mod size;
pub mod slots;

use thiserror::Error;

use epoch::{Clock, Ticker};
use kind::Kind;
use pool::{Division, Places, pooled};
use size::Size;

/// The memory of one decision of a policy. It is small because a policy sees one request at a time.
pub const MAX_DECISION_MEMORY_BYTES: usize = 16 << 20;
/// How many decisions of policies may be made at once apart from requests: of those that are tried in shadow.
pub const MAX_DECISIONS_APART: usize = 4;
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
        Self::set_up(limits, sizes, true)
    }

    /// The same, of which no metric says anything: those of what is served do.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn unmeasured(
        limits: &config::Engine,
        sizes: impl IntoIterator<Item = Size>,
    ) -> Result<Self, EngineError> {
        Self::set_up(limits, sizes, false)
    }

    fn set_up(
        limits: &config::Engine,
        sizes: impl IntoIterator<Item = Size>,
        is_measured: bool,
    ) -> Result<Self, EngineError> {
        let small = pipeline_engine(limits, Size::Small, is_measured)?;
        let has_large = sizes.into_iter().any(|size| size == Size::Large)
            && limits.large.max_concurrent_guests > 0;
        let large =
            has_large.then(|| pipeline_engine(limits, Size::Large, is_measured)).transpose()?;
        let policies = policy_engine(limits, is_measured)?;
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

    /// The engine of this kind, if its guests are allowed.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&wasmtime::Engine> {
        match kind {
            Kind::Pipelines => Some(&self.small),
            Kind::LargePipelines => self.large.as_ref(),
            Kind::Policies => Some(&self.policies),
        }
    }

    /// The clock that running pipelines register with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.ticker.clock()
    }
}

fn pipeline_engine(
    limits: &config::Engine,
    size: Size,
    is_measured: bool,
) -> Result<wasmtime::Engine, EngineError> {
    let (guests, key) = match size {
        Size::Small => (limits.max_concurrent_guests, "engine.max_concurrent_guests"),
        Size::Large => (limits.large.max_concurrent_guests, "engine.large.max_concurrent_guests"),
    };
    let kind = Kind::of_pipelines(size);
    let places = Places {
        engine: kind.name(),
        is_measured,
        guests,
        key,
        max_memory_bytes: limits.max_memory_bytes_of(size),
        shape: kind.shape(),
        kept_bytes_of_guest: Division::of(limits).kept_bytes_of_guest,
    };
    pooled(kind.config(), &places, limits.pool)
}

fn policy_engine(
    limits: &config::Engine,
    is_measured: bool,
) -> Result<wasmtime::Engine, EngineError> {
    let kind = Kind::Policies;
    let places = Places {
        engine: kind.name(),
        is_measured,
        guests: limits.max_concurrent_decisions + MAX_DECISIONS_APART,
        key: "engine.max_concurrent_decisions",
        max_memory_bytes: MAX_DECISION_MEMORY_BYTES,
        shape: kind.shape(),
        kept_bytes_of_guest: Division::of(limits).kept_bytes_of_guest,
    };
    pooled(kind.config(), &places, limits.pool)
}
