//! `[cache]`: the cache of answers, and how tenants divide it. [`redis`] has where its Redis is.

mod redis;

use serde::Deserialize;
use weir_limits::parts::{Claim, divide};

pub use self::redis::{Redis, Topology};

const MIB: usize = 1 << 20;
const MIB_U64: u64 = 1 << 20;

/// `[cache]`: the cache of answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Size of the memory tier: entries and their keys.
    pub memory_bytes: u64,
    /// The largest entry; larger answers are not stored.
    pub max_entry_bytes: usize,
    /// How many tags have the position of their last change recorded.
    pub max_tags: usize,
    /// How many keys may be computed at once, and how many keys are remembered as uncacheable.
    pub max_flights: usize,
    /// How many requests may wait for one key.
    pub max_followers: usize,
    /// How long a key whose answer could not be stored is remembered: its requests do not wait
    /// for each other during that time.
    pub uncacheable_ttl_ms: u64,
    /// The shared tier.
    pub shared: Shared,
}

/// `[cache.shared]`: the tier behind the memory tier, which survives restarts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shared {
    /// What it is.
    pub backend: Backend,
    /// How long a lookup may take at most. After that, the request goes on without it.
    pub lookup_budget_ms: u64,
    /// Calls to it that are made at once. A tenant leaves a third of them to others.
    pub max_concurrent: usize,
    /// The memory of entries that are on their way to it.
    pub max_queued_bytes: usize,
    /// The file of the backend "disk".
    pub disk: Disk,
    /// Where the Redis of the backend "redis" is.
    pub redis: Redis,
}

/// What the shared tier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A file in the data folder of each tenant.
    Disk,
    /// A Redis, which several servers can share.
    Redis,
    /// There is none.
    None,
}

/// `[cache.shared.disk]`: the files of the backend "disk".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// The size of all entries. The files can take twice as much.
    pub max_bytes: u64,
    /// The memory for pages of the files.
    pub page_cache_bytes: u64,
}

impl Cache {
    /// The caches of tenants, one for each claim to its memory. Nothing is in common, so that no tenant can
    /// evict what another has stored, or notice it. Keys are divided by weight alone.
    #[must_use]
    pub fn divided(&self, claims: &[Claim]) -> Vec<Self> {
        let by_weight: Vec<_> =
            claims.iter().map(|claim| Claim { fixed: None, ..*claim }).collect();
        let by_weight = |total: u64| divide(total, &by_weight).into_iter();
        let (shared, disk) = (&self.shared, &self.shared.disk);
        let parts = divide(self.memory_bytes, claims)
            .into_iter()
            .zip(by_weight(self.max_flights as u64))
            .zip(by_weight(shared.max_queued_bytes as u64))
            .zip(by_weight(disk.max_bytes).zip(by_weight(disk.page_cache_bytes)));
        let part = |(((memory_bytes, flights), queued), (disk, pages))| Self {
            memory_bytes,
            max_flights: usize::try_from(flights).unwrap_or(usize::MAX).max(1),
            shared: Shared {
                max_queued_bytes: usize::try_from(queued).unwrap_or(usize::MAX),
                disk: Disk { max_bytes: disk, page_cache_bytes: pages },
                ..self.shared.clone()
            },
            ..self.clone()
        };
        parts.map(part).collect()
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB_U64,
            max_entry_bytes: MIB,
            max_tags: 100_000,
            max_flights: 10_000,
            max_followers: 10_000,
            uncacheable_ttl_ms: 10_000,
            shared: Shared::default(),
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            backend: Backend::Disk,
            lookup_budget_ms: 20,
            max_concurrent: 64,
            max_queued_bytes: 32 * MIB,
            disk: Disk::default(),
            redis: Redis::default(),
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self { max_bytes: 1024 * MIB_U64, page_cache_bytes: 32 * MIB_U64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_divide_memory_and_keys() {
        let claims = [
            Claim { weight: 1, fixed: None },
            Claim { weight: 3, fixed: None },
            Claim { weight: 1, fixed: Some(500) },
        ];
        let all = Cache { memory_bytes: 1_000, max_flights: 10, ..Cache::default() };
        let parts = all.divided(&claims);
        let sizes: Vec<_> =
            parts.iter().map(|part| (part.memory_bytes, part.max_flights)).collect();
        assert_eq!(sizes, [(125, 2), (375, 6), (500, 2)]);
        let shared = Shared {
            max_queued_bytes: 10,
            disk: Disk { max_bytes: 100, page_cache_bytes: 50 },
            ..Shared::default()
        };
        let all = Cache { shared: shared.clone(), ..all };
        let parts = all.divided(&claims);
        let sizes: Vec<_> = parts
            .iter()
            .map(|Cache { shared: Shared { max_queued_bytes, disk, .. }, .. }| {
                (*max_queued_bytes, disk.max_bytes, disk.page_cache_bytes)
            })
            .collect();
        assert_eq!(sizes, [(2, 20, 10), (6, 60, 30), (2, 20, 10)]);
        let same = Cache { memory_bytes: 1_000, max_flights: 10, shared, ..parts[0].clone() };
        assert_eq!(same, all);
        let few = Cache { max_flights: 1, ..all };
        assert_eq!(few.divided(&claims)[0].max_flights, 1, "nobody has none");
    }
}
