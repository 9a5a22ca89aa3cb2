//! How the texts of each tenant were looked up.
//!
//! Each tenant has its counts, also where tenants share the vectors in memory: what one asks for is not
//! another's to know. The documents that the catch-up embeds are not in them, because it asks no tier. Out of
//! scope: what the tiers contain (`tiers`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;
use weir_cache::usage::windows::{Share, Shares, Windows};
use weir_cache::usage::{ByReason, Reasons};

/// The outcome of a lookup in the shared tier that found the vector.
const HIT: &str = "hit";

/// The counts of all tenants that have embedded something.
#[derive(Default)]
pub(super) struct Uses {
    by_tenant: RwLock<HashMap<String, Arc<Use>>>,
}

/// The counts of a tenant.
#[derive(Default)]
pub(super) struct Use {
    texts: AtomicU64,
    hits: AtomicU64,
    collapsed: AtomicU64,
    shared: Reasons,
    windows: Windows,
}

/// How the texts of a tenant were looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The distinct texts of all calls.
    pub texts: u64,
    /// Those whose vectors the memory tier had.
    pub hits: u64,
    /// Those that another call was computing.
    pub collapsed: u64,
    /// Those whose vectors the shared tier had.
    pub shared_hits: u64,
    /// Those that it did not have, by the reason.
    pub shared_misses: ByReason,
    /// The hits of either tier in the windows.
    pub shares: Shares,
}

impl Uses {
    /// The counts of a tenant. There are as many as the server has tenants.
    pub(super) fn of(&self, tenant: &str) -> Arc<Use> {
        if let Some(of) = self.by_tenant.read().get(tenant) {
            return Arc::clone(of);
        }
        Arc::clone(self.by_tenant.write().entry(tenant.to_owned()).or_default())
    }

    /// What was counted for a tenant.
    pub(super) fn counts(&self, tenant: &str) -> Counts {
        self.by_tenant.read().get(tenant).map(|of| of.counts()).unwrap_or_default()
    }

    /// Moves the windows on.
    pub(super) fn turn(&self) {
        self.by_tenant.read().values().for_each(|of| of.windows.turn(of.counted().share()));
    }
}

impl Use {
    /// Counts the texts of a call: all of them, those that the memory tier had, and those that another call
    /// was computing.
    pub(super) fn looked_up(&self, texts: usize, hits: usize, collapsed: usize) {
        self.texts.fetch_add(texts as u64, Relaxed);
        self.hits.fetch_add(hits as u64, Relaxed);
        self.collapsed.fetch_add(collapsed as u64, Relaxed);
    }

    /// Counts texts that were looked up in the shared tier, by the outcome as metrics show it.
    pub(super) fn looked_up_shared(&self, outcome: &'static str, texts: u64) {
        self.shared.count(outcome, texts);
    }

    fn counted(&self) -> Counts {
        let mut shared_misses = self.shared.counted();
        let shared_hits = shared_misses.remove(HIT).unwrap_or_default();
        let (texts, hits) = (self.texts.load(Relaxed), self.hits.load(Relaxed));
        let collapsed = self.collapsed.load(Relaxed);
        Counts { texts, hits, collapsed, shared_hits, shared_misses, shares: Shares::default() }
    }

    fn counts(&self) -> Counts {
        let counted = self.counted();
        Counts { shares: self.windows.shares(counted.share()), ..counted }
    }
}

impl Counts {
    fn share(&self) -> Share {
        Share { hits: self.hits + self.shared_hits, lookups: self.texts }
    }
}
