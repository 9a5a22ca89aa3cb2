//! When a tag changed, as far as it is known: what tells for how long an answer has been out of date.
//!
//! A tag can change a thousand times a second, so its changes are merged into a few ranges. A merged
//! range counts as if all of its changes had happened when its first did: an answer can seem to be
//! out of date for longer than it is, never for less. Of two neighbours, those are merged that are close
//! to each other compared with how long ago they were, so recent changes are told apart best.
//!
//! Out of scope: whether a tag has changed at all, which its cell says without a lock.

use std::time::{Duration, Instant};

use weir_core::Position;

/// The most ranges of one tag.
const MAX_RANGES: usize = 8;

/// The changes of a tag since its cell was made.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When changes up to this position happened is not known.
    unknown: Position,
    /// In the order of their positions.
    ranges: Vec<Range>,
}

/// Successive changes.
#[derive(Clone, Copy, Debug)]
struct Range {
    last: Position,
    /// When the first of them was committed, or earlier.
    began: Instant,
}

impl History {
    /// Nothing is known about changes up to this position.
    pub(crate) fn unknown_up_to(position: Position) -> Self {
        Self { unknown: position, ranges: Vec::new() }
    }

    /// Notes that nothing is known about the changes up to this position.
    pub(crate) fn forget_up_to(&mut self, position: Position) {
        if position > self.unknown {
            self.unknown = position;
            self.ranges.retain(|range| range.last > position);
        }
    }

    /// Notes changes up to the position `last`, of which the first was committed at `began`.
    pub(crate) fn note(&mut self, last: Position, began: Instant, now: Instant) {
        match self.ranges.last_mut() {
            // Told again, or late.
            Some(newest) if last <= newest.last => newest.began = newest.began.min(began),
            _ if last <= self.unknown => {}
            _ => {
                if self.ranges.len() >= MAX_RANGES {
                    self.merge(now);
                }
                self.ranges.push(Range { last, began });
            }
        }
    }

    /// When the first change after this position was committed, or an earlier instant. `None` if there
    /// is none, or nothing is known about it.
    pub(crate) fn first_change_after(&self, position: Position) -> Option<Instant> {
        if position < self.unknown {
            return None;
        }
        // Not the first range alone: what was merged began when its earliest change did.
        self.ranges.iter().filter(|range| range.last > position).map(|range| range.began).min()
    }

    fn merge(&mut self, now: Instant) {
        let gap = |pair: &[Range]| pair[1].began.saturating_duration_since(pair[0].began);
        let age = |range: &Range| now.saturating_duration_since(range.began);
        let relative = |pair: &[Range]| {
            let age = age(&pair[0]).max(Duration::from_millis(1));
            gap(pair).as_secs_f64() / age.as_secs_f64()
        };
        let pairs = self.ranges.windows(2).map(relative).enumerate();
        let closest = pairs.min_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((first, _)) = closest {
            let began = self.ranges[first].began.min(self.ranges[first + 1].began);
            self.ranges[first + 1].began = began;
            self.ranges.remove(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_not_known_has_no_instant() {
        let start = Instant::now();
        let mut history = History::unknown_up_to(Position(5));
        history.note(Position(4), start, start);
        assert_eq!(history.first_change_after(Position(5)), None, "nothing has changed");
        history.note(Position(7), start, start);
        for (position, expected) in [(4, None), (5, Some(start)), (6, Some(start)), (7, None)] {
            assert_eq!(history.first_change_after(Position(position)), expected, "{position}");
        }
        history.forget_up_to(Position(6));
        assert_eq!(history.first_change_after(Position(5)), None);
        assert_eq!(history.first_change_after(Position(6)), Some(start));
    }

    proptest! {
        /// Against a list of all changes: never later than the first change after the position, exact
        /// while there are few, and within half of its age for those of the last second.
        #[test]
        fn the_first_change_never_seems_later_than_it_was(
            pauses_ms in vec(0..500_u64, 1..100),
        ) {
            let start = Instant::now();
            let (mut history, mut changes, mut now) = (History::default(), Vec::new(), start);
            for (number, pause) in (1..).zip(pauses_ms) {
                now += ms(pause);
                history.note(Position(number), now, now);
                changes.push(now);
            }
            for (position, first) in changes.iter().enumerate() {
                let found = history.first_change_after(Position(position as u64));
                prop_assert!(found.is_some_and(|found| found <= *first));
                if changes.len() <= MAX_RANGES {
                    prop_assert_eq!(found, Some(*first));
                }
            }
            prop_assert!(history.ranges.len() <= MAX_RANGES);
            prop_assert_eq!(history.first_change_after(Position(changes.len() as u64)), None);
        }
    }

    #[test]
    fn under_steady_changes_recent_ones_are_told_apart() {
        let start = Instant::now();
        let mut history = History::default();
        for number in 1..=1_000_u32 {
            let now = start + ms(10) * number;
            history.note(Position(number.into()), now, now);
        }
        let now = start + ms(10_000);
        for ago_ms in [50, 200, 1_000, 4_000] {
            let position = Position((10_000 - ago_ms) / 10);
            let found = history.first_change_after(position).map(|found| now - found);
            let found = found.unwrap_or_default();
            assert!(found >= ms(ago_ms - 10), "{ago_ms}: {found:?}");
            assert!(found <= 3 * ms(ago_ms), "{ago_ms}: {found:?}");
        }
    }
}
