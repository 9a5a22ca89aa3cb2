//! Opens the tiers behind the memory tiers, and the stores that they stand on.
//!
//! Out of scope: what the stores are ([`weir_cache::tier`]), and when they are closed, which is after all
//! tiers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_cache::envelope::Seal;
use weir_cache::tier::disk::{DiskLimits, DiskStore};
use weir_cache::tier::{self, EnvelopeStore, SharedTier};
use weir_embedding::Embedded;
use weir_limits::guard::Guard;
use weir_runtime::answers::StoredAnswer;
use weir_runtime::answers::config::{Backend, Cache};
use weir_runtime::tenant::Tenant;

/// The tiers behind the memory tiers of a tenant, over one store.
pub(crate) struct SharedTiers {
    pub(crate) answers: SharedTier<Arc<StoredAnswer>>,
    pub(crate) vectors: SharedTier<Embedded>,
}

/// The stores of shared tiers.
#[derive(Default)]
pub(crate) struct SharedStores {
    opened: Vec<Arc<dyn EnvelopeStore>>,
}

impl SharedStores {
    /// Opens the tiers behind a tenant's memory tiers, if there are to be any.
    pub(crate) async fn tiers(
        &mut self,
        tenant: &Tenant,
        folder: &Path,
        cache: &Cache,
    ) -> anyhow::Result<Option<SharedTiers>> {
        let shared = &cache.shared;
        let store: Arc<dyn EnvelopeStore> = match shared.backend {
            Backend::None => return Ok(None),
            Backend::Disk => {
                let limits = DiskLimits {
                    max_bytes: shared.disk.max_bytes,
                    page_cache_bytes: usize::try_from(shared.disk.page_cache_bytes)?,
                };
                let folder = folder.to_owned();
                Arc::new(
                    tokio::task::spawn_blocking(move || DiskStore::open(&folder, limits)).await?,
                )
            }
        };
        self.opened.push(Arc::clone(&store));
        let limits = tier::Limits {
            lookup_budget: Duration::from_millis(shared.lookup_budget_ms),
            max_entry_bytes: cache.max_entry_bytes,
            // Each has half, so that vectors of many texts do not keep answers from being written.
            max_queued_bytes: shared.max_queued_bytes / 2,
        };
        let guard = Arc::new(Guard::new(shared.max_concurrent, || {}));
        let seal = || Seal::new(tenant.truth.id().0, &tenant.truth.secret().0);
        let name = || tenant.name.clone();
        let (of_vectors, same_guard) = (Arc::clone(&store), Arc::clone(&guard));
        Ok(Some(SharedTiers {
            answers: SharedTier::start(name(), store, guard, seal(), limits),
            vectors: SharedTier::start(name(), of_vectors, same_guard, seal(), limits),
        }))
    }

    /// The stores, to be closed after all tiers.
    pub(crate) fn into_opened(self) -> Vec<Arc<dyn EnvelopeStore>> {
        self.opened
    }
}
