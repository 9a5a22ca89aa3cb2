//! The latencies of pipelines in the text of `/metrics`: a summary for each pipeline and outcome.
//!
//! Its quantiles are of about the last minute, because one since the start hides what changes, and
//! there are a few, because buckets as fine as these would be hundreds of lines. Quantiles of several
//! servers cannot be added up; the histogram in [`metrics`](super::metrics) can. Out of scope: how
//! they are recorded (`weir_runtime::pipeline::latencies`).

use std::fmt::{self, Write as _};

use weir_runtime::deploy::Snapshot;
use weir_runtime::pipeline::latencies::{Latencies, Outcome, Recorded};

const NAME: &str = "weir_pipeline_request_duration_seconds";
const HELP: &str = "Time from when a pipeline's request has been read to its answer, by how it ended. \
                    Quantiles: of the last minute, within 2 %; those of servers cannot be averaged.";
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Appends the latencies of what is deployed.
pub fn write(text: &mut String, deployed: &Snapshot) {
    let _ = writeln!(text, "# HELP {NAME} {HELP}\n# TYPE {NAME} summary");
    for (pipeline, deployed) in deployed.pipelines() {
        // Writing to a string does not fail.
        let _ = write_pipeline(text, pipeline.as_str(), &deployed.counters.latencies);
    }
}

fn write_pipeline(text: &mut String, pipeline: &str, latencies: &Latencies) -> fmt::Result {
    for outcome in Outcome::ALL {
        let Some(Recorded { count, sum, last_minute }) = latencies.of(outcome) else { continue };
        // Names have no character that would have to be escaped.
        let labels = format!("pipeline=\"{pipeline}\",outcome=\"{}\"", outcome.as_str());
        for share in QUANTILES {
            let quantile =
                last_minute.quantile(share).map_or(f64::NAN, |value| value.as_secs_f64());
            writeln!(text, "{NAME}{{{labels},quantile=\"{share}\"}} {quantile}")?;
        }
        writeln!(text, "{NAME}_sum{{{labels}}} {}", sum.as_secs_f64())?;
        writeln!(text, "{NAME}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outcome_that_has_occurred_is_a_summary_in_seconds() {
        let latencies = Latencies::default();
        latencies.record(Outcome::Hit, Duration::from_nanos(1_500));
        latencies.record(Outcome::Hit, Duration::from_nanos(1_500));
        let mut text = String::new();
        assert!(write_pipeline(&mut text, "p", &latencies).is_ok());
        let mut expected = String::new();
        for share in ["0.5", "0.9", "0.99", "0.999"] {
            expected += &format!(
                "weir_pipeline_request_duration_seconds{{pipeline=\"p\",outcome=\"hit\",\
                 quantile=\"{share}\"}} 0.000001487\n"
            );
        }
        expected += "weir_pipeline_request_duration_seconds_sum{pipeline=\"p\",outcome=\"hit\"} 0.000003\n\
                     weir_pipeline_request_duration_seconds_count{pipeline=\"p\",outcome=\"hit\"} 2\n";
        assert_eq!(text, expected);
        (0..10).for_each(|_| latencies.turn());
        text.clear();
        assert!(write_pipeline(&mut text, "p", &latencies).is_ok());
        assert_eq!(text, expected.replace("0.000001487", "NaN"), "nothing in the last minute");
    }
}
