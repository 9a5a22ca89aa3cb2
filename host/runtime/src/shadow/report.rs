//! What a shadow has found out. Out of scope: how it is shown (`weir-server`, `weir-client`).

use std::collections::BTreeMap;

use serde::Serialize;
use weir_cache::usage::ByReason;

use super::counts::Cost;
use super::keys::Keys;
use super::spread::Distribution;
use super::tags::Tags;

/// What a shadow has found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When it began, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// For how long it has seen requests, in seconds.
    pub for_s: u64,
    /// Why it has ended, if it has.
    pub ended: Option<&'static str>,
    /// The requests that it is about.
    pub requests: Requests,
    /// Why the numbers are estimates, if they are.
    pub estimated_because: Vec<&'static str>,
    /// How the requests that were seen were answered.
    pub answered: Answered,
    /// The deployed policy, simulated.
    pub deployed: Simulated,
    /// The candidate, simulated.
    pub candidate: Simulated,
    /// How their keys differ.
    pub keys: Keys,
    /// Requests to which the candidate would have given an answer to a request that the deployed policy keeps
    /// apart, and that had another answer.
    pub other_answers: u64,
    /// How their tags differ.
    pub tags: Tags,
    /// Hooks of the candidate that are not asked.
    pub not_asked: Vec<&'static str>,
}

/// The requests that a shadow is about.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Requests {
    /// Those that have ended.
    pub ended: u64,
    /// Those of them that were looked at.
    pub seen: u64,
    /// Those that were not, because too many waited.
    pub dropped: u64,
    /// Those that wait.
    pub waiting: u64,
    /// The share that was not dropped, from 0 to 1.
    pub seen_share: f64,
}

/// How requests were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// From memory.
    pub hits: u64,
    /// From the shared tier.
    pub shared_hits: u64,
    /// With an old answer.
    pub stale: u64,
    /// With the answer of another request's run.
    pub collapsed: u64,
    /// With an answer of their own.
    pub misses: u64,
    /// Without asking the cache.
    pub bypassed: u64,
    /// Not.
    pub failed: u64,
}

/// What a policy would have done.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// Hits for each lookup, from 0 to 1; `None` if there were no lookups.
    pub hit_ratio: Option<f64>,
    /// Requests for which the memory tier was asked, and which were answered.
    pub lookups: u64,
    /// Those that it had an answer for, old ones too.
    pub hits: u64,
    /// Old ones.
    pub stale: u64,
    /// Those whose answer was being made.
    pub collapsed: u64,
    /// Those that had to be answered by a run.
    pub misses: u64,
    /// Requests for which the policy bypasses the cache.
    pub bypassed: u64,
    /// Answers that were stored.
    pub stored: u64,
    /// Answers that were not, by the reason.
    pub not_stored: ByReason,
    /// Those that the policy did not want, by its own reason.
    pub refused: BTreeMap<String, u64>,
    /// How long answers live that were stored, in milliseconds.
    pub ttl_ms: Option<Distribution>,
    /// Decisions that failed.
    pub failures: Vec<Failure>,
    /// What decisions cost.
    pub cost: Cost,
    /// The entries in the simulated tiers.
    pub entries: u64,
    /// One key in so many is simulated.
    pub one_key_in: u64,
}

/// Decisions that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was to be decided: `keying` or `admission`.
    pub hook: &'static str,
    /// Why it was not, in a word.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// The first of them in full.
    pub example: String,
}
