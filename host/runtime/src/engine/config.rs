//! `[engine]`: what guests may use.

use serde::Deserialize;

const MIB: usize = 1 << 20;
const MIB_U64: u64 = 1 << 20;

/// `[engine]`: what guests may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Threads that run guests; 0 is one a core.
    pub guest_threads: usize,
    /// Memories and tables of one request, added up.
    pub max_memory_bytes: usize,
    /// Guests at once.
    pub max_concurrent_guests: usize,
    /// What a request waits for a guest's place before it is refused.
    pub queue_timeout_ms: u64,
    /// For a pipeline's whole run, where the pipeline sets none.
    pub deadline_ms: u64,
    /// A pipeline's answer.
    pub max_answer_bytes: usize,
    /// A component's file.
    pub max_component_bytes: u64,
    /// Host calls of one request at once.
    pub max_concurrent_host_calls: usize,
    /// Fuel of one policy decision, wasmtime's unit: about one an instruction.
    pub policy_fuel: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            guest_threads: 0,
            max_memory_bytes: 64 * MIB,
            max_concurrent_guests: 256,
            queue_timeout_ms: 1_000,
            deadline_ms: 10_000,
            max_answer_bytes: 4 * MIB,
            max_component_bytes: 32 * MIB_U64,
            max_concurrent_host_calls: 64,
            policy_fuel: 10_000_000,
        }
    }
}
