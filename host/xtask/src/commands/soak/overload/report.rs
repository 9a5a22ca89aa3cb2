//! The tables of the experiment, in Markdown, and the lines below them that say how requests ended.

use std::fmt::Write;

use super::phase::{Load, Phase};
use super::verdict::Measured;
use crate::commands::soak::experiment::bound;
use crate::traffic::clients::PATIENCE;
use crate::traffic::times::{median_and_p99, milliseconds, quantile};

const HEAD: &str = "| phase | goodput | answers p50 / p99 | refusals p50 / p99 | hits p50 / p99 \
    | sent late p99 |\n|---|---:|---:|---:|---:|---:|\n";

/// All phases and bounds.
pub(super) fn markdown(measured: &Measured, machine: &str) -> String {
    let mut text = HEAD.to_owned();
    measured.phases().for_each(|phase| text += &row(phase));
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\nGoodput is answers to new questions a second. Times are milliseconds from when a request was \
         due; a client leaves after {} s. Measured on {machine}, which the clients share with the \
         server.\n\n{}\n",
        PATIENCE.as_secs(),
        bound::table(&measured.bounds())
    );
    for phase in measured.phases() {
        let _ = write!(text, "- {}: hits: {}", phase.load, phase.hits.ends);
        if phase.hits.not_hits > 0 {
            let _ = write!(text, ", {} not from the cache", phase.hits.not_hits);
        }
        if let Some(seen) = &phase.seen {
            let _ = write!(text, "; new questions: {}", seen.ends);
        }
        text += ".\n";
    }
    text
}

/// The result of a phase in one line, for those who wait.
pub(super) fn line(phase: &Phase) -> String {
    let hits = median_and_p99(&phase.hits.answered);
    match &phase.seen {
        None => format!("{}: hits {hits} ms", phase.load),
        Some(seen) => format!(
            "{}: {:.0} answers a second, {} ms; hits {hits} ms",
            phase.load,
            phase.goodput(),
            median_and_p99(&seen.answered)
        ),
    }
}

fn row(phase: &Phase) -> String {
    let goodput = match phase.load {
        Load::None => "–".to_owned(),
        _ => format!("{:.0}", phase.goodput()),
    };
    let seen = phase.seen.as_ref().unwrap_or(&phase.hits);
    let [answers, refusals] = match &phase.seen {
        None => ["–".to_owned(), "–".to_owned()],
        Some(seen) => [median_and_p99(&seen.answered), median_and_p99(&seen.refused)],
    };
    let late = match phase.load {
        // Due is when it was sent.
        Load::Closed { .. } => None,
        _ => quantile(&seen.late, 0.99),
    };
    format!(
        "| {} | {goodput} | {answers} | {refusals} | {} | {} |\n",
        phase.load,
        median_and_p99(&phase.hits.answered),
        milliseconds(late)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::soak::overload::verdict;

    #[test]
    fn the_report_has_phases_bounds_and_ends() {
        let text = markdown(&verdict::tests::measured(), "a machine");
        for line in [
            "| hits alone | – | – | – | 1.0 / 1.0 | – |",
            "| closed loop, 16 clients | 100 | 50.0 / 50.0 | 0.0 / 0.0 | 2.0 / 2.0 | – |",
            "| open loop, 500 a second | 80 | 100.0 / 100.0 | 9.0 / 9.0 | 4.0 / 4.0 | – |",
            "| goodput | 0.80 | at least 0.8 of the peak | yes |",
            "- open loop, 500 a second: hits: nothing; new questions: nothing.",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
