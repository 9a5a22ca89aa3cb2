//! What was measured, whether it is within the bounds, and the tables in Markdown.

use std::fmt::Write;
use std::time::Duration;

use super::mix::{Kind, OVERLOADED};
use crate::commands::soak::experiment::afterwards::Afterwards;
use crate::traffic::outcome::Counts;

/// By how much memory may differ.
const TOLERANCE: f64 = 0.05;

/// The server's resident memory after so many calls and some rest.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) calls: u64,
    pub(super) resident_kib: u64,
}

/// What became of all calls.
pub(super) struct Measured {
    pub(super) ends: Vec<(&'static Kind, Counts)>,
    /// After the first tenth, and after all.
    pub(super) memory: [Memory; 2],
    pub(super) after: Afterwards,
    pub(super) took: Duration,
}

impl Measured {
    /// What is not within the bounds, in words.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let [first, last] = self.memory.map(|memory| memory.resident_kib);
        if last.abs_diff(first) as f64 > first as f64 * TOLERANCE {
            violations.push(format!("{:+.1} % of memory", self.growth() * 100.0));
        }
        for (kind, ends) in &self.ends {
            let others = ends.other_than(kind.ends);
            if others.total() > 0 {
                violations.push(format!("{}: {others}", kind.name));
            }
            if ends.total() > 0 && ends.other_than(&[OVERLOADED]).total() == 0 {
                violations.push(format!("{}: all were refused", kind.name));
            }
        }
        violations.extend(self.after.left_behind());
        violations
    }

    /// By how much there is more memory at the end, as a share.
    fn growth(&self) -> f64 {
        let [first, last] = self.memory.map(|memory| memory.resident_kib as f64);
        last / first - 1.0
    }
}

pub(super) fn markdown(measured: &Measured, machine: &str) -> String {
    let mut text = "| call | of a thousand | ended |\n|---|---:|---|\n".to_owned();
    // Writing to a string does not fail.
    for (kind, ends) in &measured.ends {
        let _ = writeln!(text, "| {} | {} | {ends} |", kind.name, kind.of_thousand);
    }
    text += "\n| calls | resident memory, MiB |\n|---:|---:|\n";
    for Memory { calls, resident_kib } in measured.memory {
        let _ = writeln!(text, "| {calls} | {:.1} |", resident_kib as f64 / 1024.0);
    }
    let [before, after] = measured.after.handles;
    let _ = writeln!(
        text,
        "\nThe memory differs by {:+.1} %, of which ±{:.0} % are allowed. Connections {} → {}, other \
         handles {} → {}. It took {:.0} s, with rests. Measured on {machine}.\n",
        measured.growth() * 100.0,
        TOLERANCE * 100.0,
        before.sockets,
        after.sockets,
        before.others,
        after.others,
        measured.took.as_secs_f64(),
    );
    let violations = measured.violations();
    match violations.as_slice() {
        [] => text += "All within the bounds.\n",
        violations => violations.iter().for_each(|one| {
            let _ = writeln!(text, "- Not within the bounds: {one}.");
        }),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::soak::hostile::mix::KINDS;
    use crate::watch::Handles;

    fn measured(first: u64, last: u64, end: &str) -> Measured {
        let mut ends = Counts::default();
        ends.add("500 pipeline-trapped");
        ends.add(end);
        of(first, last, ends)
    }

    fn of(first: u64, last: u64, ends: Counts) -> Measured {
        Measured {
            ends: vec![(&KINDS[0], ends)],
            memory: [(10, first), (100, last)]
                .map(|(calls, resident_kib)| Memory { calls, resident_kib }),
            after: Afterwards {
                handles: [Handles { sockets: 3, others: 20 }; 2],
                quiet_after: Some(Duration::ZERO),
                no_slot: None,
            },
            took: Duration::from_secs(7),
        }
    }

    #[test]
    fn bounds_are_inclusive_and_unknown_ends_are_violations() {
        for (first, last, end, expected) in [
            (1_000, 1_050, "503 overloaded", vec![]),
            (1_000, 950, "503 overloaded", vec![]),
            (1_000, 1_051, "503 overloaded", vec!["+5.1 % of memory"]),
            (1_000, 900, "503 overloaded", vec!["-10.0 % of memory"]),
            (1_000, 1_000, "500 internal", vec!["trap: 1 × 500 internal"]),
        ] {
            assert_eq!(measured(first, last, end).violations(), expected);
        }
    }

    #[test]
    fn calls_that_are_all_refused_show_nothing() {
        let mut ends = Counts::default();
        ends.add(OVERLOADED);
        assert_eq!(of(1_000, 1_000, ends).violations(), ["trap: all were refused"]);
    }

    #[test]
    fn the_report_has_a_line_a_kind() {
        let text = markdown(&measured(2_048, 2_048, "503 overloaded"), "a machine");
        for line in [
            "| trap | 136 | 1 × 500 pipeline-trapped, 1 × 503 overloaded |",
            "| 100 | 2.0 |",
            "All within the bounds.",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
