//! What the server uses and can go on without: the stores of the shared tiers, each behind a guard.
//!
//! Out of scope: what a guard does (`weir_limits::guard`), and how its state is shown (`http::health`).

use std::sync::Arc;

use weir_cache::tier::EnvelopeStore;
use weir_core::name::Name;
use weir_limits::guard::{Guard, Health};

/// The stores of the tenants' shared tiers.
#[derive(Default)]
pub struct SharedTierService {
    /// What they are, as the configuration names it.
    pub backend: &'static str,
    /// The guard of each: one for all tenants, or one for each.
    pub guards: Vec<Arc<Guard<Name>>>,
    /// The stores, which are closed after the tiers.
    pub stores: Vec<Arc<dyn EnvelopeStore>>,
}

impl SharedTierService {
    /// How many guards are in each state.
    #[must_use]
    pub fn states(&self) -> [(&'static str, usize); 3] {
        [("closed", Health::Closed), ("half-open", Health::HalfOpen), ("open", Health::Open)].map(
            |(name, state)| {
                (name, self.guards.iter().filter(|guard| guard.health() == state).count())
            },
        )
    }

    /// The state that says most about what is wrong. `None` if there are no stores.
    #[must_use]
    pub fn worst_state(&self) -> Option<&'static str> {
        self.states().into_iter().rev().find_map(|(name, guards)| (guards > 0).then_some(name))
    }

    /// Closes the stores, when nothing uses them any more.
    pub async fn close(&self) {
        for store in &self.stores {
            store.close().await;
        }
    }
}
