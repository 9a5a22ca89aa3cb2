//! `[engine]`: what guests may use.

use serde::Deserialize;

use super::size::Size;

const MIB: usize = 1 << 20;
const MIB_U64: u64 = 1 << 20;

/// `[engine]`: what guests may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Threads that run guests, and as many for those that compute for long; 0 means one for each core.
    pub guest_threads: usize,
    /// Whether the server starts on a machine that does not allow pools of instances.
    pub pool: Pool,
    /// The memory of one request: the sum of its memories and tables.
    pub max_memory_bytes: usize,
    /// The memory of all guests together, with what is kept of those that have ended for the next.
    pub max_guests_memory_bytes: usize,
    /// How many pipelines run at once: the guest slots.
    pub max_concurrent_guests: usize,
    /// How many decisions of policies run at once; they have slots of their own.
    pub max_concurrent_decisions: usize,
    /// How long a request waits for a guest slot before it is refused.
    pub queue_timeout_ms: u64,
    /// The deadline of a pipeline's whole run, unless the pipeline sets its own.
    pub deadline_ms: u64,
    /// The largest body of a pipeline's answer.
    pub max_answer_bytes: usize,
    /// The largest file of a component.
    pub max_component_bytes: u64,
    /// How many host calls of one request run at once.
    pub max_concurrent_host_calls: usize,
    /// Fuel of one policy decision, in wasmtime's unit: about one per instruction.
    pub policy_fuel: u64,
    /// How long an uploaded plugin may take to handle all samples of its manifest.
    pub samples_timeout_ms: u64,
    /// `[engine.large]`: guests of the other size.
    pub large: Large,
    /// `[engine.compile]`: what compiling a component may take.
    pub compile: Compile,
}

/// `[engine.large]`: what the guests of pipelines with `size = "large"` may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Large {
    /// How many run at once; they have slots of their own. 0 means that none are allowed.
    pub max_concurrent_guests: usize,
    /// The memory of one request: the sum of its memories and tables.
    pub max_memory_bytes: usize,
}

/// `[engine.compile]`: what compiling a component that was uploaded may take, and how much code is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compile {
    /// How many are compiled at once. Others wait for as long as they may then take.
    pub max_concurrent: usize,
    /// How long it may take, in real time and in CPU time.
    pub timeout_ms: u64,
    /// The address space of the process that compiles.
    pub max_memory_bytes: u64,
    /// `timeout_ms` of pipelines with `size = "large"`.
    pub large_timeout_ms: u64,
    /// `max_memory_bytes` of pipelines with `size = "large"`.
    pub large_max_memory_bytes: u64,
    /// The compiled code that is kept in the data folder for the next start. 0 keeps none.
    pub max_kept_bytes: u64,
}

impl Default for Compile {
    fn default() -> Self {
        Self {
            max_concurrent: 1,
            timeout_ms: 30_000,
            max_memory_bytes: 1 << 30,
            large_timeout_ms: 120_000,
            large_max_memory_bytes: 2 << 30,
            max_kept_bytes: 1 << 30,
        }
    }
}

impl Default for Large {
    fn default() -> Self {
        Self { max_concurrent_guests: 0, max_memory_bytes: 256 * MIB }
    }
}

impl Engine {
    /// The most memory of one request to a pipeline of this size.
    #[must_use]
    pub fn max_memory_bytes_of(&self, size: Size) -> usize {
        match size {
            Size::Small => self.max_memory_bytes,
            Size::Large => self.large.max_memory_bytes,
        }
    }
}

/// What happens if the machine does not allow wasmtime the address space of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// Instances are allocated on demand, which is slower; a warning and a metric say so.
    #[default]
    Preferred,
    /// The server does not start.
    Required,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            guest_threads: 0,
            pool: Pool::Preferred,
            max_memory_bytes: 64 * MIB,
            max_guests_memory_bytes: 1 << 30,
            max_concurrent_guests: 256,
            max_concurrent_decisions: 64,
            queue_timeout_ms: 1_000,
            deadline_ms: 10_000,
            max_answer_bytes: 4 * MIB,
            max_component_bytes: 32 * MIB_U64,
            max_concurrent_host_calls: 64,
            policy_fuel: 10_000_000,
            samples_timeout_ms: 30_000,
            large: Large::default(),
            compile: Compile::default(),
        }
    }
}
