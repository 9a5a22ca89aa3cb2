//! The result of a replay, and whether it may be believed.

use anyhow::Result;
use serde::Serialize;

use super::health::Positions;
use super::line::Kind;
use super::segment::{Segment, Survey};
use super::send::Sent;
use super::tiers::Tiers;
use super::times::Quantiles;
use crate::traffic::outcome::Counts;

/// How late 99 of 100 operations may be begun, in milliseconds.
const MOST_LATE_P99_MS: f64 = 10.0;
/// How late any operation may be begun, in milliseconds.
const MOST_LATE_MS: f64 = 1_000.0;

/// What became of a segment of a trace.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Replayed {
    pub(crate) segment: String,
    /// Whether it was stopped before the segment ended.
    pub(crate) is_stopped: bool,
    /// From the first operation to the last answer.
    pub(crate) seconds: f64,
    pub(crate) operations: Vec<Operations>,
    /// Where answers came from, by their `Cache-Status`.
    pub(crate) tiers: Tiers,
    /// The same, as the server counted it.
    pub(crate) tiers_of_server: Tiers,
    pub(crate) hit_ratio: Option<f64>,
    /// Times from when an operation was due.
    pub(crate) hits: Quantiles,
    pub(crate) collapsed: Quantiles,
    pub(crate) misses: Quantiles,
    pub(crate) writes: Quantiles,
    /// How late operations were begun, beyond what timers need: the generator's own fault.
    pub(crate) late: Quantiles,
    pub(crate) memory: Memory,
    pub(crate) positions: Between,
    /// Why the figures say nothing about the server; nothing if they do.
    pub(crate) void: Vec<String>,
    /// What should not be: operations without an answer, or counts that differ.
    pub(crate) failures: Vec<String>,
}

/// What became of operations of one kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Operations {
    pub(crate) kind: String,
    /// How many are in the segment.
    pub(crate) due: u64,
    /// How many were sent and have ended.
    pub(crate) ended: u64,
    /// How they ended.
    pub(crate) ends: String,
}

/// The server's memory, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) before_mib: u64,
    pub(crate) peak_mib: u64,
    pub(crate) after_mib: u64,
}

/// Positions before the first operation, and after the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Between {
    pub(crate) start: Positions,
    pub(crate) end: Positions,
}

/// What was seen of the server besides its answers.
pub(super) struct Seen {
    pub(super) tiers: Tiers,
    pub(super) memory: Memory,
    pub(super) positions: Between,
}

impl Replayed {
    pub(super) fn of(segment: &Segment, survey: Survey, sent: &Sent, seen: Seen) -> Result<Self> {
        let tally = &sent.tally;
        let operations = Kind::ALL.map(|kind| Operations {
            kind: kind.to_string(),
            due: survey.of(kind),
            ended: tally.ends[kind as usize].total(),
            ends: tally.ends[kind as usize].to_string(),
        });
        let late = tally.late.quantiles()?;
        Ok(Self {
            segment: segment.described(),
            is_stopped: sent.is_stopped,
            seconds: sent.took.as_secs_f64(),
            operations: operations.into(),
            tiers: tally.tiers,
            tiers_of_server: seen.tiers,
            hit_ratio: tally.tiers.hit_ratio(),
            hits: tally.hits.quantiles()?,
            collapsed: tally.collapsed.quantiles()?,
            misses: tally.misses.quantiles()?,
            writes: tally.writes.quantiles()?,
            void: void(&late),
            late,
            memory: seen.memory,
            failures: failures(&tally.failures, tally.tiers, &seen),
            positions: seen.positions,
        })
    }
}

/// Why a replay is void: with a generator that is late, times are its own, and the load was another one.
fn void(late: &Quantiles) -> Vec<String> {
    let bounds = [
        ("the 99th percentile", late.p99_ms, MOST_LATE_P99_MS),
        ("the longest", late.max_ms, MOST_LATE_MS),
    ];
    let broken = bounds.into_iter().filter_map(|(what, measured, most)| {
        let measured = measured.filter(|measured| *measured > most)?;
        Some(format!("operations were begun late: {what} is {measured:.1} ms, over {most} ms"))
    });
    broken.collect()
}

fn failures(ends: &Counts, counted: Tiers, seen: &Seen) -> Vec<String> {
    let mut failures = Vec::new();
    if ends.total() > 0 {
        failures.push(format!("not answered, or not acknowledged: {ends}"));
    }
    if counted != seen.tiers {
        failures.push(format!(
            "the answers' Cache-Status and the server's analytics differ: {counted:?} and {:?}",
            seen.tiers
        ));
    }
    if seen.positions.end.set_aside > 0 {
        failures.push(format!("{} documents were set aside", seen.positions.end.set_aside));
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_generator_makes_a_replay_void() {
        let late = |p99_ms, max_ms| Quantiles {
            count: 9,
            p99_ms: Some(p99_ms),
            max_ms: Some(max_ms),
            ..Quantiles::default()
        };
        for (late, expected) in [
            (Quantiles::default(), &[][..]),
            (late(10.0, 1_000.0), &[]),
            (late(10.1, 500.0), &["the 99th percentile is 10.1 ms, over 10 ms"]),
            (late(1.0, 1_000.5), &["the longest is 1000.5 ms, over 1000 ms"]),
            (late(11.0, 2_000.0), &["the 99th percentile", "the longest"]),
        ] {
            let void = void(&late);
            assert_eq!(void.len(), expected.len(), "{void:?}");
            void.iter().zip(expected).for_each(|(why, part)| assert!(why.contains(part), "{why}"));
        }
    }

    #[test]
    fn ends_counts_and_documents_set_aside_are_failures() {
        let seen = |tiers, set_aside| Seen {
            tiers,
            memory: Memory::default(),
            positions: Between {
                end: Positions { set_aside, ..Positions::default() },
                ..Between::default()
            },
        };
        let (counted, mut ends) = (Tiers { memory: 2, ..Tiers::default() }, Counts::default());
        assert!(failures(&ends, counted, &seen(counted, 0)).is_empty());
        ends.add("query: 503 overloaded");
        let all = failures(&ends, counted, &seen(Tiers::default(), 1));
        assert_eq!(all[0], "not answered, or not acknowledged: 1 × query: 503 overloaded");
        assert!(all[1].contains("differ"), "{all:?}");
        assert_eq!(all[2], "1 documents were set aside");
    }
}
