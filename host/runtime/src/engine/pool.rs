//! The pools that instances come from: an engine has one, unless the machine does not allow it the
//! address space.
//!
//! A pool keeps some of the memory of a guest that has ended mapped for the next one: to zero it costs
//! less than the system calls that would return it. wasmtime bounds that for each place, and never
//! returns it, so after a rush of guests all places can have theirs. [`Division`] sees to it
//! that this, too, is within the memory of all guests. Out of scope: memory that is in use (`memory`).

use metrics::{Gauge, gauge};
use tracing::warn;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::EngineError;
use super::MAX_DECISIONS_APART;
use super::config;
use super::size::Shape;

/// The part of the memory of all guests that pools may keep for the next guests: one in so many.
const KEPT_PART: usize = 3;
/// The most that is kept of a memory. An uncached `echo`, asked over 64 connections with both cores of an AMD
/// EPYC busy, took 210 µs of CPU with nothing kept, 128 with 119 KiB, 105 with 480 KiB, which is the
/// default's part, and 103 with this.
const MAX_KEPT_OF_MEMORY_BYTES: usize = 2 << 20;
/// The most that is kept of a table. Those of compiled languages are smaller.
const MAX_KEPT_OF_TABLE_BYTES: usize = 16 << 10;
/// wasmtime keeps whole pages of the machine, which rarely has larger ones.
const PAGE_BYTES: usize = 4 << 10;
/// The address space that wasmtime reserves for a memory, by default.
const RESERVED_GIB_OF_MEMORY: u64 = 4;

/// How the memory of all guests (`engine.max_guests_memory_bytes`) is divided between those that run
/// and those that will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// The memory that guests may use at once.
    pub(super) used_bytes: usize,
    /// What the pools may keep of one guest.
    pub(super) kept_bytes_of_guest: usize,
}

/// Whose pool it is, and for how many guests.
pub(super) struct Places {
    /// The engine's name, in the metric.
    pub(super) engine: &'static str,
    /// Whether the metric says if there is a pool.
    pub(super) is_measured: bool,
    /// How many guests there are at once.
    pub(super) guests: usize,
    /// The key of the configuration that says so.
    pub(super) key: &'static str,
    /// The most that one memory has.
    pub(super) max_memory_bytes: usize,
    /// What one guest has besides.
    pub(super) shape: &'static Shape,
    /// What is kept of one guest for the next.
    pub(super) kept_bytes_of_guest: usize,
}

impl Division {
    /// That of a configuration.
    pub(super) fn of(limits: &config::Engine) -> Self {
        let kept_bytes = limits.max_guests_memory_bytes / KEPT_PART;
        let guests = limits.max_concurrent_guests
            + limits.max_concurrent_decisions
            + MAX_DECISIONS_APART
            + limits.large.max_concurrent_guests;
        Self {
            used_bytes: limits.max_guests_memory_bytes - kept_bytes,
            kept_bytes_of_guest: kept_bytes / guests.max(1),
        }
    }
}

/// An engine whose instances come from a pool with these places. Where the machine does not allow
/// that, they are allocated on demand, or there is no engine.
pub(super) fn pooled(
    mut config: Config,
    places: &Places,
    wanted: config::Pool,
) -> Result<wasmtime::Engine, EngineError> {
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(places.pool()));
    let is_pooled = match places.is_measured {
        true => gauge!("weir_engine_pooled", "engine" => places.engine),
        false => Gauge::noop(),
    };
    match (wasmtime::Engine::new(&config), wanted) {
        (Ok(engine), _) => {
            is_pooled.set(1.0);
            Ok(engine)
        }
        (Err(error), config::Pool::Required) => Err(places.refused(error)),
        (Err(error), config::Pool::Preferred) => {
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
        let shape = self.shape;
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(guests)
            .total_core_instances(guests.saturating_mul(shape.core_instances))
            .total_memories(guests.saturating_mul(shape.memories))
            .total_tables(guests.saturating_mul(shape.tables))
            .total_stacks(guests.saturating_mul(2))
            .max_core_instances_per_component(shape.core_instances)
            .max_memories_per_component(shape.memories)
            .max_tables_per_component(shape.tables)
            .table_elements(shape.table_elements)
            .max_core_instance_size(shape.instance_bytes)
            .max_component_instance_size(shape.instance_bytes)
            .max_memory_size(self.max_memory_bytes)
            .linear_memory_keep_resident(self.kept_of_memory())
            .table_keep_resident(self.kept_of_table())
            .pagemap_scan(Enabled::Auto)
            // What is not kept is returned at once. In a batch it would wait for other guests to end,
            // and nobody would be charged for it.
            .decommit_batch_size(1);
        pool
    }

    /// What is kept of a table: an eighth of the guest's part for all of its tables, if that is enough.
    fn kept_of_table(&self) -> usize {
        let of_tables = self.kept_bytes_of_guest / 8;
        whole_pages(of_tables / self.shape.tables as usize, MAX_KEPT_OF_TABLE_BYTES)
    }

    fn kept_of_memory(&self) -> usize {
        let of_tables = self.kept_of_table() * self.shape.tables as usize;
        let of_memories = self.kept_bytes_of_guest - of_tables;
        whole_pages(of_memories / self.shape.memories as usize, MAX_KEPT_OF_MEMORY_BYTES)
    }

    fn refused(&self, error: wasmtime::Error) -> EngineError {
        let &Self { guests, key, .. } = self;
        let memories = (guests as u64).saturating_mul(self.shape.memories.into());
        let reserved_gib = memories.saturating_mul(RESERVED_GIB_OF_MEMORY);
        EngineError::NoPool { guests, key, reserved_gib, error }
    }
}

/// `bytes`, but at most `most`, without what is no whole page.
fn whole_pages(bytes: usize, most: usize) -> usize {
    let bytes = bytes.min(most);
    bytes - bytes % PAGE_BYTES
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::size::Size;
    use super::*;
    use crate::engine::config::Pool;

    fn places(guests: usize, size: Size, kept_bytes_of_guest: usize) -> Places {
        Places {
            is_measured: false,
            engine: "test",
            guests,
            key: "engine.max_concurrent_guests",
            max_memory_bytes: 64 << 20,
            shape: size.shape(),
            kept_bytes_of_guest,
        }
    }

    #[test]
    fn without_a_pool_instances_are_allocated_on_demand_or_there_is_no_engine() {
        // More than the address space of any machine has room for.
        let impossible = places(65_536, Size::Small, 0);
        let preferred = pooled(Config::new(), &impossible, Pool::Preferred);
        assert!(preferred.is_ok_and(|engine| engine.pooling_allocator_metrics().is_none()));
        let required = pooled(Config::new(), &impossible, Pool::Required);
        let says = required.err().map(|error| error.to_string()).unwrap_or_default();
        for part in ["reserve 524288 GiB", "lower engine.max_concurrent_guests", "\"preferred\""] {
            assert!(says.contains(part), "no {part:?} in {says}");
        }
        let possible = pooled(Config::new(), &places(1, Size::Small, 0), Pool::Required);
        assert!(possible.is_ok_and(|engine| engine.pooling_allocator_metrics().is_some()));
    }

    #[test]
    fn what_all_guests_use_and_what_is_kept_of_all_of_them_is_within_their_memory() {
        const GIB: usize = 1 << 30;
        for (bytes, guests, decisions, large) in [
            (GIB, 256, 64, 0),
            (GIB, 256, 64, 4),
            (192 << 20, 4, 4, 1),
            (4 * GIB, 1, 1, 0),
            (GIB, 65_536, 4_096, 4_096),
            (1, 1, 1, 1),
        ] {
            let mut limits = config::Engine {
                max_guests_memory_bytes: bytes,
                max_concurrent_guests: guests,
                max_concurrent_decisions: decisions,
                ..config::Engine::default()
            };
            limits.large.max_concurrent_guests = large;
            let Division { used_bytes, kept_bytes_of_guest } = Division::of(&limits);
            let kept = |guests: usize, size: Size| {
                let places = places(guests, size, kept_bytes_of_guest);
                let Shape { memories, tables, .. } = places.shape;
                let of_memories = places.kept_of_memory() * *memories as usize;
                guests * (of_memories + places.kept_of_table() * *tables as usize)
            };
            let small = guests + decisions + MAX_DECISIONS_APART;
            let kept = kept(small, Size::Small) + kept(large, Size::Large);
            assert!(used_bytes + kept <= bytes, "{limits:?}: {used_bytes} used, {kept} kept");
        }
    }

    #[test]
    fn by_default_every_guest_finds_memory_and_what_a_compiled_one_writes_is_kept() {
        let limits = config::Engine::default();
        let Division { used_bytes, kept_bytes_of_guest } = Division::of(&limits);
        let guests = limits.max_concurrent_guests + limits.max_concurrent_decisions;
        assert!(used_bytes / guests >= 2 << 20, "one piece of GuestMemory");
        let places = places(1, Size::Small, kept_bytes_of_guest);
        assert!(places.kept_of_memory() >= 448 << 10, "{}", places.kept_of_memory());
        assert_eq!(places.kept_of_table(), 16 << 10);
    }

    /// With wasmtime's own count of what it keeps.
    #[test]
    fn a_pool_keeps_no_more_than_it_may_and_returns_the_rest_at_once() {
        const PAGES: usize = 64;
        let places = places(4, Size::Small, 1 << 20);
        let engine = pooled(Config::new(), &places, Pool::Required).unwrap();
        // `(module (memory 64) (export "m" (memory 0)))`
        let module = b"\0asm\x01\0\0\0\x05\x03\x01\0\x40\x07\x05\x01\x01m\x02\0";
        let module = wasmtime::Module::from_binary(&engine, module).unwrap();
        let mut stores: Vec<_> = (0..4).map(|_| wasmtime::Store::new(&engine, ())).collect();
        for store in &mut stores {
            let instance = wasmtime::Instance::new(&mut *store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            memory.data_mut(&mut *store).fill(1);
            assert_eq!(memory.data_size(&*store), PAGES << 16);
        }
        drop(stores);
        let pool = engine.pooling_allocator_metrics().unwrap();
        assert_eq!(pool.memories(), 0);
        assert_eq!(pool.unused_warm_memories(), 4, "none of them waits to be returned");
        assert_eq!(pool.unused_memory_bytes_resident(), 4 * places.kept_of_memory());
    }
}
