//! Vectors in the shared tier, where they survive restarts.
//!
//! Each tenant has its own, in the store that has its answers, also if tenants share the vectors in
//! memory: what is read there was written with the same documents. The tier is attached when the tenant
//! is opened, which is after the models were loaded. A key there is the model's digest, the id of the truth and
//! the text, so all models use the same tier, and all tenants can use the same store.
//!
//! A vector depends on nothing but its key. So it is as of no commit, and nothing invalidates it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use parking_lot::RwLock;
use weir_cache::CacheKey;
use weir_cache::encoding::{DecodeError, Record};
use weir_cache::entry::Moment;
use weir_cache::key::{KeyBuilder, KeyPrefix};
use weir_cache::lifetime::Lifetime;
use weir_cache::reads::Dependencies;
use weir_cache::tier::{Miss, SharedTier};
use weir_core::Commit;
use weir_core::name::Name;

use super::uses::{Counts, Use, Uses};
use crate::{Embedded, Embedder, Origin};

/// How long the shared tier keeps a vector. It could forever, but most texts are not asked for again.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What all models have in common: the shared tiers of the tenants that have one, and the counts of all.
#[derive(Default)]
pub struct SharedVectors {
    tiers: RwLock<HashMap<String, Arc<SharedTier<Embedded>>>>,
    uses: Uses,
}

impl SharedVectors {
    /// Keeps the tenant's vectors in this tier from now on.
    pub fn attach(&self, tenant: &Name, tier: SharedTier<Embedded>) {
        self.tiers.write().insert(tenant.to_string(), Arc::new(tier));
    }

    /// Writes what is on its way to the tiers. Their stores are closed after that.
    pub async fn drain(&self) {
        let tiers: Vec<_> = self.tiers.read().values().map(Arc::clone).collect();
        for tier in tiers {
            tier.drain().await;
        }
    }

    /// How the tenant's texts were looked up, in all models together.
    #[must_use]
    pub fn counts(&self, tenant: &Name) -> Counts {
        self.uses.counts(tenant.as_str())
    }

    /// Moves the windows on; to be called [every ten seconds](weir_cache::usage::windows::TURN).
    pub fn turn(&self) {
        self.uses.turn();
    }

    fn of(&self, tenant: &str) -> Option<Arc<SharedTier<Embedded>>> {
        self.tiers.read().get(tenant).map(Arc::clone)
    }
}

/// The vectors of one model in the shared tiers.
pub(super) struct OfModel {
    vectors: Arc<SharedVectors>,
    prefix: KeyPrefix,
    dimensions: usize,
}

impl OfModel {
    pub(super) fn new(vectors: Arc<SharedVectors>, model: &impl Embedder) -> Self {
        let prefix = KeyPrefix::new(&["embedding", model.model_digest()]);
        Self { vectors, prefix, dimensions: model.dimensions() }
    }

    /// The part of the origin's tenant, if it has a tier.
    pub(super) fn of(&self, origin: &Origin) -> Option<Shared> {
        let tier = self.vectors.of(origin.tenant())?;
        let pipeline = origin.of_pipeline().unwrap_or_default().to_owned();
        let counts = self.counts_of(origin);
        let (prefix, dimensions) = (self.prefix.clone(), self.dimensions);
        Some(Shared { tier, prefix, dimensions, pipeline, counts })
    }

    /// Where the lookups of the origin's tenant are counted.
    pub(super) fn counts_of(&self, origin: &Origin) -> Arc<Use> {
        self.vectors.uses.of(origin.tenant())
    }
}

/// The vectors of one model in the shared tier of one tenant.
pub(super) struct Shared {
    tier: Arc<SharedTier<Embedded>>,
    prefix: KeyPrefix,
    dimensions: usize,
    /// Who asks; empty if no pipeline does.
    pipeline: String,
    counts: Arc<Use>,
}

impl Shared {
    /// The vectors of the texts with these keys, those that there are.
    pub(super) async fn look_up(&self, keys: &[CacheKey]) -> Vec<Option<Embedded>> {
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let mut outcomes = BTreeMap::<_, u64>::new();
        let found = self.tier.look_up_all(&keys).await.into_iter().map(|found| {
            let found = found.and_then(|record| self.fresh(record));
            let outcome = found.as_ref().map_or_else(|miss| miss.reason(), |_| "hit");
            *outcomes.entry(outcome).or_default() += 1;
            found.ok()
        });
        let found = found.collect();
        for (outcome, texts) in outcomes {
            self.counts.looked_up_shared(outcome, texts);
            let pipeline = self.pipeline.clone();
            counter!("weir_cache_shared_lookups_total", "operation" => "embedding", "pipeline" => pipeline, "outcome" => outcome)
                .increment(texts);
        }
        found
    }

    /// Stores a vector soon.
    pub(super) fn put(&self, key: &CacheKey, embedded: Embedded) {
        let record = Record {
            value: embedded,
            as_of: Commit::ZERO,
            depends_on: Dependencies::default(),
            stored_at: Moment::now(),
            compute: Duration::ZERO,
            shared: Lifetime::of(TTL),
            memory: None,
        };
        self.tier.put(self.key(key), record);
    }

    fn key(&self, text: &CacheKey) -> CacheKey {
        KeyBuilder::new(&self.prefix).part(self.tier.truth()).part(text.as_bytes()).finish()
    }

    fn fresh(&self, record: Record<Embedded>) -> Result<Embedded, Miss> {
        if record.age(Moment::now()) >= record.shared.ttl {
            return Err(Miss::Expired);
        }
        if record.value.vector.0.len() != self.dimensions {
            return Err(Miss::Record(DecodeError::Invalid("the number of dimensions")));
        }
        Ok(record.value)
    }
}
