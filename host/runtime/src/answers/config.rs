//! `[cache]`: the cache of answers.

use serde::Deserialize;

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
        }
    }
}
