//! The table of the experiment, in Markdown, and the lines below it that say how requests ended.

use std::fmt::Write;

use super::good_client::Kind;
use super::verdict::{HITS_RATIO, MISSES_RATIO, Phase, ratio};
use crate::traffic::times::{milliseconds, quantile};

const HEAD: &str = "| phase | hits p50 / p99 | misses p50 / p99 | writes p50 / max | errors \
    | memory | within the bounds |\n|---|---:|---:|---:|---:|---:|---|\n";

/// All phases as a table, and the details that do not fit into it.
pub(super) fn markdown(phases: &[Phase], honest: &str, budget_mib: u64, machine: &str) -> String {
    let honest = phases.iter().find(|phase| phase.name == honest);
    let mut text = HEAD.to_owned();
    for phase in phases {
        let compared = honest.filter(|honest| is_compared(phase, honest));
        text += &row(phase, compared, budget_mib);
    }
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\nTimes are milliseconds; in parentheses, the 99th percentile as a multiple of that next to \
         the honest neighbour, which may be {HITS_RATIO} for hits and {MISSES_RATIO} for misses. \
         Memory is the peak of the server's process in MiB; the budget is {budget_mib}. Measured on \
         {machine}.\n\n"
    );
    for phase in phases {
        text += &details(phase);
    }
    text
}

/// Only attacks are compared: not the honest neighbour itself, and not the good client alone.
fn is_compared(phase: &Phase, honest: &Phase) -> bool {
    phase.name != honest.name && phase.name != super::ALONE
}

/// The result of a phase in one line, for those who wait.
pub(super) fn line(phase: &Phase) -> String {
    let p99 = |kind: &Kind| milliseconds(quantile(&kind.times, 0.99));
    format!(
        "{}: p99 of hits {} ms, of misses {} ms, {} errors, {} MiB",
        phase.name,
        p99(&phase.seen.hits),
        p99(&phase.seen.misses),
        phase.errors(),
        phase.peak.memory_mib
    )
}

fn row(phase: &Phase, honest: Option<&Phase>, budget_mib: u64) -> String {
    let violations = phase.violations(honest, budget_mib);
    let verdict = if violations.is_empty() { "yes".to_owned() } else { violations.join(", ") };
    let seen = &phase.seen;
    format!(
        "| {} | {} | {} | {} / {} | {} | {} | {verdict} |\n",
        phase.name,
        times(&seen.hits, honest.map(|honest| &honest.seen.hits)),
        times(&seen.misses, honest.map(|honest| &honest.seen.misses)),
        milliseconds(quantile(&seen.writes.times, 0.5)),
        milliseconds(seen.writes.times.last().copied()),
        phase.errors(),
        phase.peak.memory_mib,
    )
}

fn times(kind: &Kind, honest: Option<&Kind>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|share| milliseconds(quantile(&kind.times, share)));
    match honest.map(|honest| ratio(kind, honest)) {
        Some(Some(ratio)) => format!("{p50} / {p99} ({ratio:.2}×)"),
        _ => format!("{p50} / {p99}"),
    }
}

fn details(phase: &Phase) -> String {
    let mut text = format!("- {}: ", phase.name);
    if !phase.got.is_empty() {
        let _ = write!(text, "it got {}. ", phase.got);
    }
    let kinds = [("hits", &phase.seen.hits), ("misses", &phase.seen.misses)];
    for (name, kind) in kinds.into_iter().chain([("writes", &phase.seen.writes)]) {
        let answered = kind.times.len() as u64;
        let slowest = milliseconds(kind.times.last().copied());
        let _ = write!(text, "{answered} {name}, the slowest {slowest} ms");
        if name == "hits" && kind.not_hits > 0 {
            let _ = write!(text, ", {} not from the cache", kind.not_hits);
        }
        if kind.late > 0 {
            let _ = write!(text, ", {} not searchable in time (202)", kind.late);
        }
        if kind.errors.total() > 0 {
            let _ = write!(text, "; failed: {}", kind.errors);
        }
        text += ". ";
    }
    let [before, after] = phase.after.handles;
    let _ = writeln!(
        text,
        "Connections {} → {} → {}, other handles {} → {}, at most {} threads; {}.",
        before.sockets,
        phase.peak.sockets,
        after.sockets,
        before.others,
        after.others,
        phase.peak.threads,
        match phase.after.quiet_after {
            Some(time) => format!("quiet after {:.1} s", time.as_secs_f64()),
            None => "never quiet".to_owned(),
        }
    );
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::soak::experiment::afterwards::Afterwards;
    use crate::commands::soak::neighbours::good_client::Seen;
    use crate::watch::{Handles, Peak};

    fn phase(name: &'static str, hit_ms: u64) -> Phase {
        let kind = |time| Kind { times: vec![Duration::from_millis(time)], ..Kind::default() };
        Phase {
            name,
            seen: Seen { hits: kind(hit_ms), misses: kind(20), writes: kind(30) },
            peak: Peak { memory_mib: 300, threads: 9, sockets: 40 },
            after: Afterwards {
                handles: [Handles { sockets: 3, others: 20 }; 2],
                quiet_after: Some(Duration::from_millis(500)),
                no_slot: None,
            },
            got: "7 × 200".into(),
        }
    }

    #[test]
    fn a_row_compares_with_the_honest_neighbour() {
        let phases = [phase("alone", 1), phase("honest", 2), phase("bomb", 5)];
        let text = markdown(&phases, "honest", 2048, "a machine");
        for row in [
            "| alone | 1.0 / 1.0 | 20.0 / 20.0 | 30.0 / 30.0 | 0 | 300 | yes |",
            "| honest | 2.0 / 2.0 | 20.0 / 20.0 | 30.0 / 30.0 | 0 | 300 | yes |",
            "| bomb | 5.0 / 5.0 (2.50×) | 20.0 / 20.0 (1.00×) | 30.0 / 30.0 | 0 | 300 | p99 of hits is \
             2.50 times the honest one |",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
        assert!(text.contains("- bomb: it got 7 × 200. 1 hits, the slowest 5.0 ms."), "{text}");
        assert!(text.contains("Connections 3 → 40 → 3"), "{text}");
    }
}
