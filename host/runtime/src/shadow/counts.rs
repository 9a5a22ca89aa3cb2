//! What is counted of one of the two policies.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use weir_cache::usage::ByReason;

use super::event::Event;
use super::spread::{Distribution, Spread};
use crate::policy::apart::FailedApart;

/// How many different reasons of a policy are told apart.
const MAX_REASONS: usize = 16;
/// The longest text of a policy, or of a failure, that is kept.
const MAX_TEXT_BYTES: usize = 300;
/// What is counted when there are too many reasons.
const OTHERS: &str = "(others)";

/// How a request would have been answered with what the simulated tier had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Hit,
    Stale,
    /// It was being made when the request came.
    Collapsed,
}

/// What was counted of a policy.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) stale: u64,
    pub(super) collapsed: u64,
    pub(super) misses: u64,
    pub(super) bypassed: u64,
    pub(super) stored: u64,
    pub(super) not_stored: ByReason,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) failures: BTreeMap<(&'static str, &'static str), (u64, String)>,
    ttl_ms: Spread,
    took_us: Spread,
    fuel: Spread,
    decisions: u64,
}

/// What the decisions of a policy's component cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// How many were made. A plan alone needs none.
    pub decisions: u64,
    /// How long one took, in microseconds.
    pub took_us: Option<Distribution>,
    /// The fuel that one took.
    pub fuel: Option<Distribution>,
}

impl Counts {
    /// Counts what the tier had for a request, which stands for `many`.
    pub(super) fn looked_up(&mut self, how: Option<How>, event: &Event, many: u64) {
        match how {
            Some(How::Hit) => self.hits += many,
            Some(How::Stale) => self.stale += many,
            Some(How::Collapsed) => self.collapsed += many,
            None if event.answer.is_some() => self.misses += many,
            // It would have failed, too.
            None => {}
        }
    }

    pub(super) fn stored(&mut self, ttl: Duration) {
        self.stored += 1;
        self.ttl_ms.note(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }

    pub(super) fn not_stored(&mut self, reason: &'static str) {
        *self.not_stored.entry(reason).or_default() += 1;
    }

    /// Counts an answer that the policy does not want stored, for a reason of its own.
    pub(super) fn refused(&mut self, reason: &str) {
        let reason = shortened(reason);
        let is_known = self.refused.contains_key(&reason) || self.refused.len() < MAX_REASONS;
        let reason = if is_known { reason } else { OTHERS.to_owned() };
        *self.refused.entry(reason).or_default() += 1;
    }

    pub(super) fn failed(&mut self, hook: &'static str, failed: &FailedApart) {
        let example = || (0, shortened(&failed.error.to_string()));
        let (count, _) = self.failures.entry((hook, failed.kind)).or_insert_with(example);
        *count += 1;
    }

    pub(super) fn cost(&mut self, took: Duration, fuel: u64) {
        self.decisions += 1;
        self.took_us.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.fuel.note(fuel);
    }

    pub(super) fn ttl_ms(&self) -> Option<Distribution> {
        self.ttl_ms.distribution()
    }

    pub(super) fn all_costs(&self) -> Cost {
        Cost {
            decisions: self.decisions,
            took_us: self.took_us.distribution(),
            fuel: self.fuel.distribution(),
        }
    }
}

/// As much of a text as is kept.
pub(super) fn shortened(text: &str) -> String {
    match text.len() {
        0..=MAX_TEXT_BYTES => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]),
    }
}
