//! A replay as text.

use std::fmt::Write as _;

use super::replayed::{Memory, Replayed};
use super::tiers::Tiers;
use super::times::Quantiles;

/// The report in Markdown.
pub(super) fn markdown(replayed: &Replayed, machine: &str) -> String {
    // Writing to a string does not fail.
    let mut text = format!("{}, {:.1} s. {machine}.\n\n", replayed.segment, replayed.seconds);
    if replayed.is_stopped {
        text.push_str("Stopped before its end: this is what was sent until then.\n\n");
    }
    text.push_str("| operations | due | ended | how |\n|---|---:|---:|---|\n");
    for one in &replayed.operations {
        let _ = writeln!(text, "| {} | {} | {} | {} |", one.kind, one.due, one.ended, one.ends);
    }
    text.push('\n');
    text.push_str(&tiers(replayed));
    text.push_str("\n| ms from when it was due | count | p50 | p99 | p999 | max |\n|---|---:|---:|---:|---:|---:|\n");
    for (name, times) in [
        ("hits", &replayed.hits),
        ("collapsed", &replayed.collapsed),
        ("misses", &replayed.misses),
        ("writes", &replayed.writes),
        ("the generator was late by", &replayed.late),
    ] {
        let _ = writeln!(text, "{}", row(name, times));
    }
    let Memory { before_mib, peak_mib, after_mib } = replayed.memory;
    let (start, end) = (&replayed.positions.start, &replayed.positions.end);
    let _ = writeln!(
        text,
        "\nMemory of the server: {before_mib} MiB before, {peak_mib} MiB at most, {after_mib} MiB after.\n\
         Positions: documents from {} to {}, index from {} to {}.",
        start.documents, end.documents, start.index, end.index,
    );
    for why in &replayed.void {
        let _ = writeln!(text, "\nVOID: {why}.");
    }
    for what in &replayed.failures {
        let _ = writeln!(text, "\nFAILED: {what}.");
    }
    text
}

fn tiers(replayed: &Replayed) -> String {
    let (seen, server) = (replayed.tiers, replayed.tiers_of_server);
    let mut text =
        "| answers | by Cache-Status | by analytics | share of lookups |\n|---|---:|---:|---:|\n"
            .to_owned();
    let mut line = |name: &str, count: fn(Tiers) -> u64| {
        let share = percent(seen.share(count(seen)));
        let _ = writeln!(text, "| {name} | {} | {} | {share} |", count(seen), count(server));
    };
    line("hits of the memory tier", |tiers| tiers.memory);
    line("hits of the shared tier", |tiers| tiers.shared);
    line("old answers", |tiers| tiers.stale);
    line("collapsed", |tiers| tiers.collapsed);
    line("misses", |tiers| tiers.misses);
    let _ = writeln!(text, "| bypassed | {} | {} | |", seen.bypassed, server.bypassed);
    let _ = writeln!(text, "\nHit ratio: {}.", percent(replayed.hit_ratio));
    text
}

fn row(name: &str, times: &Quantiles) -> String {
    let [p50, p99, p999, max] = [times.p50_ms, times.p99_ms, times.p999_ms, times.max_ms]
        .map(|ms| ms.map_or("–".to_owned(), |ms| format!("{ms:.2}")));
    format!("| {name} | {} | {p50} | {p99} | {p999} | {max} |", times.count)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::replay::replayed::{Between, Operations};

    #[test]
    fn a_report_has_what_was_counted_and_why_it_is_not_to_be_believed() {
        let tiers = Tiers { memory: 3, shared: 1, misses: 4, ..Tiers::default() };
        let hits = Quantiles { count: 4, p50_ms: Some(0.254), ..Quantiles::default() };
        let replayed = Replayed {
            segment: "trace.ndjson from 0 s to its end, at speed 1".into(),
            is_stopped: true,
            seconds: 2.0,
            operations: vec![Operations {
                kind: "query".into(),
                due: 9,
                ended: 8,
                ends: "8 × 200".into(),
            }],
            tiers,
            tiers_of_server: Tiers { memory: 2, ..tiers },
            hit_ratio: tiers.hit_ratio(),
            hits,
            collapsed: Quantiles::default(),
            misses: Quantiles::default(),
            writes: Quantiles::default(),
            late: Quantiles::default(),
            memory: Memory { before_mib: 1, peak_mib: 3, after_mib: 2 },
            positions: Between::default(),
            void: vec!["late".into()],
            failures: vec!["different".into()],
        };
        let report = markdown(&replayed, "a machine");
        for line in [
            "| query | 9 | 8 | 8 × 200 |",
            "| hits of the memory tier | 3 | 2 | 37.50 % |",
            "| hits of the shared tier | 1 | 1 | 12.50 % |",
            "Hit ratio: 50.00 %.",
            "| hits | 4 | 0.25 | – | – | – |",
            "Memory of the server: 1 MiB before, 3 MiB at most, 2 MiB after.",
            "VOID: late.",
            "FAILED: different.",
        ] {
            assert!(report.lines().any(|found| found == line), "{line} is not in\n{report}");
        }
        assert!(report.contains("Stopped before its end"));
    }
}
