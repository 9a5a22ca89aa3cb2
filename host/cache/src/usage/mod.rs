//! How a cache is used: the counts that are kept while it is, in a bounded amount of memory.
//!
//! [`windows`] are the hits of the last minute, five minutes and hour, [`hottest`] finds the keys that are
//! asked for most, [`ages`] are those of recent hits, and [`holding`] is who has how much in memory. [`Reasons`] counts by reason. Out of scope: what
//! counts as a hit, which those who count decide, and how it is shown.

use std::collections::BTreeMap;

use parking_lot::Mutex;

pub mod ages;
pub mod holding;
pub mod hottest;
pub mod windows;

/// Numbers by reason. Reasons are names in the code, so there is a bounded number of them.
pub type ByReason = BTreeMap<&'static str, u64>;

/// Counts by reason what is not so frequent that a lock would matter.
#[derive(Debug, Default)]
pub struct Reasons(Mutex<ByReason>);

impl Reasons {
    /// Counts `many` for this reason.
    pub fn count(&self, reason: &'static str, many: u64) {
        *self.0.lock().entry(reason).or_default() += many;
    }

    /// What was counted.
    #[must_use]
    pub fn counted(&self) -> ByReason {
        self.0.lock().clone()
    }
}

/// Adds what was counted elsewhere.
pub fn add(to: &mut ByReason, more: &ByReason) {
    for (reason, many) in more {
        *to.entry(reason).or_default() += many;
    }
}
