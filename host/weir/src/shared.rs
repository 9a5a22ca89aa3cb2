//! Opens the tiers behind the memory tiers, and the stores that they stand on: a file for each tenant, or
//! one Redis with one guard for all of them.
//!
//! Out of scope: what the stores are ([`weir_cache::tier`]), and when they are closed, which is after all
//! tiers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use weir_cache::envelope::Seal;
use weir_cache::tier::disk::{DiskLimits, DiskStore};
use weir_cache::tier::redis::{self, RedisConfig, RedisStore, Trust};
use weir_cache::tier::{self, EnvelopeStore, SharedTier};
use weir_core::name::Name;
use weir_embedding::Embedded;
use weir_limits::guard::Guard;
use weir_runtime::answers::StoredAnswer;
use weir_runtime::answers::config::{Backend, Cache, Topology};
use weir_runtime::tenant::Tenant;
use weir_server::services::{GuardedStore, SharedTierService};

/// The table of the configuration that errors are about.
const TABLE: &str = "[cache.shared.redis]";

type TenantGuard = Arc<Guard<Name>>;

/// The tiers behind the memory tiers of a tenant, over one store.
pub(crate) struct SharedTiers {
    pub(crate) answers: SharedTier<Arc<StoredAnswer>>,
    pub(crate) vectors: SharedTier<Embedded>,
}

/// The stores of shared tiers.
#[derive(Default)]
pub(crate) struct SharedStores {
    opened: Vec<GuardedStore>,
    /// The Redis of all tenants, if they have one.
    redis: Option<(Arc<RedisStore>, TenantGuard)>,
}

/// Checks the files that the shared tier needs, without opening it. Blocks.
pub(crate) fn check(cache: &Cache) -> anyhow::Result<()> {
    match cache.shared.backend {
        Backend::Disk | Backend::None => Ok(()),
        Backend::Redis => RedisStore::check(&redis_config(cache)).context(TABLE),
    }
}

impl SharedStores {
    /// Connects to the Redis of the shared tiers, if they have one. A Redis that cannot be reached is no
    /// error. `cache` is not yet divided among tenants.
    pub(crate) async fn open(cache: &Cache) -> anyhow::Result<Self> {
        let mut stores = Self::default();
        if cache.shared.backend == Backend::Redis {
            let store = RedisStore::start(&redis_config(cache)).await.context(TABLE)?;
            let store = Arc::new(store);
            let stuck = Arc::clone(&store);
            let guard = Guard::new(cache.shared.max_concurrent, move || stuck.reconnect());
            let guard = Arc::new(guard);
            let opened: Arc<dyn EnvelopeStore> = Arc::clone(&store) as _;
            let guarded = Arc::clone(&guard);
            stores.opened.push(GuardedStore { tenant: None, store: opened, guard: guarded });
            stores.redis = Some((store, guard));
        }
        Ok(stores)
    }

    /// Opens the tiers behind a tenant's memory tiers, if there are to be any. `cache` is the tenant's part.
    pub(crate) async fn tiers(
        &mut self,
        tenant: &Tenant,
        folder: &Path,
        cache: &Cache,
    ) -> anyhow::Result<Option<SharedTiers>> {
        let shared = &cache.shared;
        let (store, guard): (Arc<dyn EnvelopeStore>, _) = match (shared.backend, &self.redis) {
            (Backend::Redis, Some((store, guard))) => {
                (Arc::clone(store) as Arc<dyn EnvelopeStore>, Arc::clone(guard))
            }
            (Backend::None | Backend::Redis, _) => return Ok(None),
            (Backend::Disk, _) => {
                let store: Arc<dyn EnvelopeStore> = Arc::new(disk(folder, cache).await?);
                let guard = Arc::new(Guard::new(shared.max_concurrent, || {}));
                self.opened.push(GuardedStore {
                    tenant: Some(tenant.name.clone()),
                    store: Arc::clone(&store),
                    guard: Arc::clone(&guard),
                });
                (store, guard)
            }
        };
        let limits = tier::Limits {
            lookup_budget: Duration::from_millis(shared.lookup_budget_ms),
            max_entry_bytes: cache.max_entry_bytes,
            // Each has half, so that vectors of many texts do not keep answers from being written.
            max_queued_bytes: shared.max_queued_bytes / 2,
        };
        let seal = || Seal::new(tenant.truth.id().0, &tenant.truth.secret().0);
        let name = || tenant.name.clone();
        let (of_vectors, same_guard) = (Arc::clone(&store), Arc::clone(&guard));
        Ok(Some(SharedTiers {
            answers: SharedTier::start(name(), store, guard, seal(), limits),
            vectors: SharedTier::start(name(), of_vectors, same_guard, seal(), limits),
        }))
    }

    /// The stores with their guards, to be watched, and closed after all tiers.
    pub(crate) fn into_service(self, cache: &Cache) -> SharedTierService {
        let backend = match cache.shared.backend {
            Backend::Disk => "disk",
            Backend::Redis => "redis",
            Backend::None => "none",
        };
        SharedTierService::start(backend, self.opened)
    }
}

async fn disk(folder: &Path, cache: &Cache) -> anyhow::Result<DiskStore> {
    let disk = &cache.shared.disk;
    let limits = DiskLimits {
        max_bytes: disk.max_bytes,
        page_cache_bytes: usize::try_from(disk.page_cache_bytes)?,
    };
    let folder = folder.to_owned();
    Ok(tokio::task::spawn_blocking(move || DiskStore::open(&folder, limits)).await?)
}

/// What is configured, as the store wants it. The configuration has been checked.
fn redis_config(cache: &Cache) -> RedisConfig {
    let redis = &cache.shared.redis;
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    RedisConfig {
        topology: match redis.topology {
            Topology::Single => redis::Topology::Single,
            Topology::Cluster => redis::Topology::Cluster,
            Topology::Sentinel => redis::Topology::Sentinel {
                primary: redis.sentinel_primary.clone(),
                user: text(&redis.sentinel_user),
                password_file: file(&redis.sentinel_password_file),
            },
        },
        servers: redis.hosts().flatten().collect(),
        user: text(&redis.user),
        password_file: file(&redis.password_file),
        database: redis.database,
        tls: redis.tls.then(|| file(&redis.ca_file).map_or(Trust::System, Trust::File)),
        key_prefix: redis.key_prefix.clone(),
        connections: redis.connections,
        connect_timeout: Duration::from_millis(redis.connect_timeout_ms),
        command_timeout: Duration::from_millis(redis.command_timeout_ms),
        min_reconnect_delay: Duration::from_millis(redis.min_reconnect_delay_ms),
        max_reconnect_delay: Duration::from_millis(redis.max_reconnect_delay_ms),
        max_queued_commands: redis.max_queued_commands,
        max_envelope_bytes: Seal::largest_envelope(cache.max_entry_bytes),
        max_unsent_bytes: cache.shared.max_queued_bytes,
    }
}
