//! What the server uses and can go on without: the stores of the shared tiers, each behind a guard.
//!
//! A guard learns from calls. A store that nobody asks is probed, so that its state is known before the
//! next request needs it, and a store that is back is used at once.
//!
//! Out of scope: what a guard does (`weir_limits::guard`), and how its state is shown (`http::health`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use weir_cache::CacheKey;
use weir_cache::tier::{Contents, EnvelopeStore};
use weir_core::name::Name;
use weir_limits::guard::{Guard, Health};

/// How often a store is probed that nobody asks.
const PROBED_EVERY: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// A store of a shared tier.
pub struct GuardedStore {
    /// Whose entries it has, if it has one tenant's only.
    pub tenant: Option<Name>,
    /// The store, which is closed after the tiers.
    pub store: Arc<dyn EnvelopeStore>,
    /// What stands before it.
    pub guard: Arc<Guard<Name>>,
}

/// The stores of the tenants' shared tiers: one for all of them, or one for each.
#[derive(Default)]
pub struct SharedTierService {
    /// What they are, as the configuration names it.
    pub backend: &'static str,
    stores: Vec<GuardedStore>,
    probes: Vec<AbortOnDropHandle<()>>,
}

impl SharedTierService {
    /// Watches these stores. Call this within a tokio runtime.
    #[must_use]
    pub fn start(backend: &'static str, stores: Vec<GuardedStore>) -> Self {
        let probes = stores.iter().map(|GuardedStore { store, guard, .. }| {
            AbortOnDropHandle::new(tokio::spawn(probe(Arc::clone(store), Arc::clone(guard))))
        });
        Self { backend, probes: probes.collect(), stores }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// How many guards are in each state.
    #[must_use]
    pub fn states(&self) -> [(&'static str, usize); 3] {
        [("closed", Health::Closed), ("half-open", Health::HalfOpen), ("open", Health::Open)].map(
            |(name, state)| {
                (name, self.stores.iter().filter(|one| one.guard.health() == state).count())
            },
        )
    }

    /// The state that says most about what is wrong. `None` if there are no stores.
    #[must_use]
    pub fn worst_state(&self) -> Option<&'static str> {
        self.states().into_iter().rev().find_map(|(name, guards)| (guards > 0).then_some(name))
    }

    /// How much of this tenant's is in them, if it has a store of its own that knows.
    #[must_use]
    pub fn contents(&self, tenant: &Name) -> Option<Contents> {
        let own = self.stores.iter().find(|one| one.tenant.as_ref() == Some(tenant));
        own.and_then(|one| one.store.contents())
    }

    /// Closes the stores, when nothing uses them any more.
    pub async fn close(&self) {
        for probe in &self.probes {
            probe.abort();
        }
        for GuardedStore { store, .. } in &self.stores {
            store.close().await;
        }
    }
}

/// Asks a store for what it does not have, whenever nobody else has asked it for a while.
async fn probe(store: Arc<dyn EnvelopeStore>, guard: Arc<Guard<Name>>) {
    // No hash of a request: an entry under it would not open.
    let key = CacheKey::from_bytes([0; 32]);
    let Ok(nobody) = Name::new("probe") else { return };
    let mut ticks = interval(PROBED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls_before = 0;
    loop {
        ticks.tick().await;
        if guard.calls() == calls_before {
            // What it says is in the guard.
            let _ = guard.read(&nobody, PROBE_TIMEOUT, || store.get(&key)).await;
        }
        calls_before = guard.calls();
    }
}
