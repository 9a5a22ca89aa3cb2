//! The memory tiers of one model's vectors: one for everybody, or one for each tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::lifetime::Lifetime;
use weir_cache::memory::MemoryTier;
use weir_cache::reads::Dependencies;
use weir_cache::tag::Reads;
use weir_core::Commit;

use crate::{Embedded, InMemory, Origin};

/// Who has cached vectors in common, and the memory for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caches {
    /// Everybody, in so many bytes; 0 caches nothing.
    Shared(u64),
    /// Each of these tenants has its own, in so many bytes. Nothing is cached for others.
    OfTenants(BTreeMap<String, u64>),
}

pub(super) enum Tiers {
    Shared(Tier),
    OfTenants { tiers: HashMap<String, Tier>, of_others: Tier },
}

impl Tiers {
    pub(super) fn new(caches: Caches) -> Self {
        match caches {
            Caches::Shared(bytes) => Self::Shared(Tier::new(bytes)),
            Caches::OfTenants(bytes) => Self::OfTenants {
                tiers: bytes
                    .into_iter()
                    .map(|(tenant, bytes)| (tenant, Tier::new(bytes)))
                    .collect(),
                of_others: Tier::new(0),
            },
        }
    }

    pub(super) fn of(&self, origin: &Origin) -> &Tier {
        self.of_tenant(origin.tenant())
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> &Tier {
        match self {
            Self::Shared(tier) => tier,
            Self::OfTenants { tiers, of_others } => tiers.get(tenant).unwrap_or(of_others),
        }
    }

    pub(super) fn are_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// Vectors of one model by the keys of their texts.
#[derive(Clone)]
pub(super) struct Tier(Arc<MemoryTier<Embedded>>);

impl Tier {
    fn new(bytes: u64) -> Self {
        Self(Arc::new(MemoryTier::new(bytes)))
    }

    pub(super) fn in_memory(&self, is_shared: bool) -> InMemory {
        self.0.run_housekeeping();
        InMemory { vectors: self.0.entries(), bytes: self.0.weighed_bytes(), is_shared }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<Embedded> {
        self.0.get(key).map(|entry| entry.value.clone())
    }

    /// The vector that was not there a moment ago, if it is now.
    pub(super) fn get_again(&self, key: &CacheKey) -> Option<Embedded> {
        self.0.contains(key).then(|| self.get(key)).flatten()
    }

    /// A tier too small for one vector stores nothing; that only costs time.
    pub(super) fn insert(&self, key: CacheKey, embedded: Embedded) {
        let _ = self.0.insert(key, entry(embedded));
    }
}

/// A vector depends only on its key, so it has no read set and never expires.
fn entry(embedded: Embedded) -> Entry<Embedded> {
    let bytes = size_of::<usize>() + size_of_val(&*embedded.vector.0);
    Entry {
        value: embedded,
        as_of: Commit::ZERO,
        reads: Reads::default(),
        depends_on: Dependencies::default(),
        stored_at: Moment::now(),
        compute: Duration::ZERO,
        lifetime: Lifetime::of(Duration::MAX),
        weight_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    }
}
