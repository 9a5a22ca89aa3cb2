//! A deployment's metrics. The handles of the common ones are created once: finding a counter by
//! its labels costs more than a hit.

use metrics::{Counter, counter};
use weir_core::name::Name;

use super::latencies::Latencies;

/// The metrics of one deployment.
pub struct Counters {
    /// Answers from the memory tier.
    pub hits: Counter,
    /// Lookups that found an old answer there, which was served at once.
    pub stale: Counter,
    /// Lookups that found nothing there that may be served at once.
    pub misses: Counter,
    /// How long requests took.
    pub latencies: Latencies,
    answered: Counter,
    pipeline: String,
}

impl Counters {
    /// Registers the metrics of the pipeline `name`.
    pub(super) fn new(name: &Name) -> Self {
        let pipeline = name.to_string();
        let lookup = |outcome: &'static str| counter!("weir_cache_lookups_total", "pipeline" => pipeline.clone(), "outcome" => outcome);
        Self {
            hits: lookup("hit"),
            stale: lookup("stale"),
            misses: lookup("miss"),
            latencies: Latencies::default(),
            answered: runs(&pipeline, "answered"),
            pipeline,
        }
    }

    /// Counts a lookup of an answer in the shared tier, under the reason for a miss if it was one.
    pub(crate) fn looked_up_shared(&self, miss: Option<&'static str>) {
        let (pipeline, outcome) = (self.pipeline.clone(), miss.unwrap_or("hit"));
        counter!("weir_cache_shared_lookups_total", "operation" => "query", "pipeline" => pipeline, "outcome" => outcome)
            .increment(1);
    }

    /// Counts an old answer that was served, under the reason for it.
    pub(crate) fn served_stale(&self, reason: &'static str) {
        let pipeline = self.pipeline.clone();
        counter!("weir_cache_stale_total", "pipeline" => pipeline, "reason" => reason).increment(1);
    }

    /// Counts a run in the background that was to make an answer again.
    pub(crate) fn refreshed(&self, is_stored: bool) {
        let outcome = if is_stored { "stored" } else { "not-stored" };
        let pipeline = self.pipeline.clone();
        counter!("weir_cache_refreshes_total", "pipeline" => pipeline, "outcome" => outcome)
            .increment(1);
    }

    /// Counts a run, under the label of its error if it failed.
    pub(super) fn ran(&self, error: Option<&'static str>) {
        match error {
            None => self.answered.increment(1),
            Some(label) => runs(&self.pipeline, label).increment(1),
        }
    }
}

fn runs(pipeline: &str, outcome: &'static str) -> Counter {
    counter!("weir_pipeline_runs_total", "pipeline" => pipeline.to_owned(), "outcome" => outcome)
}
