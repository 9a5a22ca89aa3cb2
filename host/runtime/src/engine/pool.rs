//! The pools that instances come from: an engine has one, unless the machine does not allow it the
//! address space.
//!
//! Out of scope: memory that is in use (`memory`).

use metrics::gauge;
use tracing::warn;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::EngineError;
use super::config::Pool;

/// Core instances of one component. Those made by `wit-component` have three or four.
pub(super) const MAX_CORE_INSTANCES: u32 = 16;
/// Memories of one component: its own and one of an adapter.
pub(super) const MAX_MEMORIES: u32 = 2;
/// Tables of one component.
pub(super) const MAX_TABLES: u32 = 8;
/// Elements of one table.
const MAX_TABLE_ELEMENTS: usize = 16_384;
/// This much of a memory or table stays mapped between requests: zeroing it costs less than the
/// system calls that would return it to the operating system.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// The address space that wasmtime reserves for a memory, by default.
const RESERVED_GIB_OF_MEMORY: u64 = 4;

/// Whose pool it is, and for how many guests.
pub(super) struct Places {
    /// The engine's name, in the metric.
    pub(super) engine: &'static str,
    /// How many guests there are at once.
    pub(super) guests: usize,
    /// The key of the configuration that says so.
    pub(super) key: &'static str,
    /// The most that one memory has.
    pub(super) max_memory_bytes: usize,
}

/// An engine whose instances come from a pool with these places. Where the machine does not allow
/// that, they are allocated on demand, or there is no engine.
pub(super) fn pooled(
    mut config: Config,
    places: &Places,
    wanted: Pool,
) -> Result<wasmtime::Engine, EngineError> {
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(places.pool()));
    let is_pooled = gauge!("weir_engine_pooled", "engine" => places.engine);
    match (wasmtime::Engine::new(&config), wanted) {
        (Ok(engine), _) => {
            is_pooled.set(1.0);
            Ok(engine)
        }
        (Err(error), Pool::Required) => Err(places.refused(error)),
        (Err(error), Pool::Preferred) => {
            // The pool reserves address space up front, which a container may not allow.
            warn!(
                engine = places.engine,
                "instances are not pooled but allocated on demand: {error:#}"
            );
            is_pooled.set(0.0);
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Ok(wasmtime::Engine::new(&config)?)
        }
    }
}

impl Places {
    fn pool(&self) -> PoolingAllocationConfig {
        let guests = u32::try_from(self.guests).unwrap_or(u32::MAX);
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
            .max_memory_size(self.max_memory_bytes)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES)
            .pagemap_scan(Enabled::Auto)
            .decommit_batch_size(decommit_batch_size(self.guests));
        pool
    }

    fn refused(&self, error: wasmtime::Error) -> EngineError {
        let &Self { guests, key, .. } = self;
        let reserved_gib = guests as u64 * u64::from(MAX_MEMORIES) * RESERVED_GIB_OF_MEMORY;
        EngineError::NoPool { guests, key, reserved_gib, error }
    }
}

/// While one thread decommits a batch, its parts of the pool are not available to any other.
/// Batches are small compared to the number of guests, so that a guest with a guest slot also
/// finds room in the pool.
fn decommit_batch_size(places: usize) -> usize {
    (places / 8).clamp(1, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the address space of any machine has room for.
    const IMPOSSIBLE: Places = Places {
        engine: "test",
        guests: 65_536,
        key: "engine.max_concurrent_guests",
        max_memory_bytes: 64 << 20,
    };

    #[test]
    fn without_a_pool_instances_are_allocated_on_demand_or_there_is_no_engine() {
        let preferred = pooled(Config::new(), &IMPOSSIBLE, Pool::Preferred);
        assert!(preferred.is_ok_and(|engine| engine.pooling_allocator_metrics().is_none()));
        let required = pooled(Config::new(), &IMPOSSIBLE, Pool::Required);
        let says = required.err().map(|error| error.to_string()).unwrap_or_default();
        for part in ["reserve 524288 GiB", "lower engine.max_concurrent_guests", "\"preferred\""] {
            assert!(says.contains(part), "no {part:?} in {says}");
        }
        let possible = pooled(Config::new(), &Places { guests: 1, ..IMPOSSIBLE }, Pool::Required);
        assert!(possible.is_ok_and(|engine| engine.pooling_allocator_metrics().is_some()));
    }
}
