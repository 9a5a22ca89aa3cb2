//! A deployment's metrics. The handles of the common ones are created once: finding a counter by
//! its labels costs more than a hit.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use weir_core::name::Name;

/// The metrics of one deployment.
pub struct Counters {
    /// Answers from the memory tier.
    pub hits: Counter,
    /// Lookups that found no valid and fresh entry.
    pub misses: Counter,
    answered: Counter,
    seconds: Histogram,
    pipeline: String,
}

impl Counters {
    /// Registers the metrics of the pipeline `name`.
    pub(super) fn new(name: &Name) -> Self {
        let pipeline = name.to_string();
        let lookup = |outcome: &'static str| counter!("weir_cache_lookups_total", "pipeline" => pipeline.clone(), "outcome" => outcome);
        Self {
            hits: lookup("hit"),
            misses: lookup("miss"),
            answered: runs(&pipeline, "answered"),
            seconds: histogram!("weir_pipeline_seconds", "pipeline" => pipeline.clone()),
            pipeline,
        }
    }

    /// Counts a run that took `compute`, under the label of its error if it failed.
    pub(super) fn ran(&self, error: Option<&'static str>, compute: Duration) {
        self.seconds.record(compute.as_secs_f64());
        match error {
            None => self.answered.increment(1),
            Some(label) => runs(&self.pipeline, label).increment(1),
        }
    }
}

fn runs(pipeline: &str, outcome: &'static str) -> Counter {
    counter!("weir_pipeline_runs_total", "pipeline" => pipeline.to_owned(), "outcome" => outcome)
}
