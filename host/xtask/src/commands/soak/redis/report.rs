//! The tables of the experiment, in Markdown, and the lines below them that say how requests ended.

use std::fmt::Write;

use super::phase::{Lookups, Phase};
use super::verdict;
use crate::commands::soak::experiment::bound;
use crate::traffic::times::median_and_p99;

const HEAD: &str = "| Redis | hits p50 / p99 | new questions p50 / p99 | lookups | of these failed |\n\
    |---|---:|---:|---:|---:|\n";

/// All phases and bounds.
pub(super) fn markdown(phases: &[Phase], machine: &str) -> String {
    let mut text = HEAD.to_owned();
    phases.iter().for_each(|phase| text += &row(phase));
    let [with, without] = [true, false].map(|with| median_and_p99(&verdict::hits(phases, with)));
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\nHits in all phases without trouble: {without}, and with trouble: {with}. Times are \
         milliseconds from when a request was due. Measured on {machine}, which the clients and Redis \
         share with the server.\n\n{}\n",
        bound::table(&verdict::bounds(phases))
    );
    for phase in phases {
        let (hits, new) = (&phase.hits.ends, &phase.new.ends);
        let _ = writeln!(text, "- {}: hits: {hits}; new questions: {new}.", name(phase));
    }
    text
}

/// The result of a phase in one line, for those who wait.
pub(super) fn line(phase: &Phase) -> String {
    let (hits, new) = (median_and_p99(&phase.hits.answered), median_and_p99(&phase.new.answered));
    format!("{}: hits {hits} ms, new questions {new} ms", name(phase))
}

fn name(phase: &Phase) -> String {
    phase.trouble.map_or("works".to_owned(), |trouble| trouble.to_string())
}

fn row(phase: &Phase) -> String {
    let (hits, new) = (median_and_p99(&phase.hits.answered), median_and_p99(&phase.new.answered));
    let Lookups { all, failed } = phase.lookups;
    format!("| {} | {hits} | {new} | {all} | {failed} |\n", name(phase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_phases_bounds_and_ends() {
        let text = markdown(&verdict::tests::measured(), "a machine");
        for line in [
            "| works | 10.0 / 10.0 | 20.0 / 20.0 | 100 | 10 |",
            "| replies cut | 13.0 / 13.0 | 20.0 / 20.0 | 100 | 100 |",
            "| p99 of hits | 1.30 | at most 1.3 times that without trouble | yes |",
            "- stopped: hits: nothing; new questions: nothing.",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
