//! The latest lines of one tenant and one pipeline, with a bound on their number and on their bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::line::Line;

/// The most lines of a ring.
pub const MAX_LINES: usize = 1_000;

/// The latest lines. Older ones make room for new ones.
#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<Arc<Line>>,
    /// What the lines take.
    bytes: usize,
    /// How many there were before the first that is still here.
    gone: u64,
}

impl Ring {
    /// Makes room for a line and keeps it; a line of more than `max_bytes` is gone at once.
    pub(super) fn push(&mut self, line: Line, max_bytes: usize) {
        let bytes = line.bytes();
        let Some(room) = max_bytes.checked_sub(bytes) else {
            self.shrink(0, 0);
            self.gone += 1;
            return;
        };
        self.shrink(MAX_LINES - 1, room);
        self.bytes += bytes;
        self.lines.push_back(Arc::new(line));
    }

    /// Gives up what is beyond a smaller share, also the places of lines.
    pub(super) fn trim(&mut self, max_bytes: usize) {
        self.shrink(MAX_LINES, max_bytes);
        self.lines.shrink_to_fit();
    }

    fn shrink(&mut self, max_lines: usize, max_bytes: usize) {
        while self.lines.len() > max_lines || self.bytes > max_bytes {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.gone += 1;
        }
    }

    /// The number of the next line: how many there have been.
    pub(super) fn next(&self) -> u64 {
        self.gone + self.lines.len() as u64
    }

    /// How many of the lines from this number on are gone, and those that are here, from the oldest.
    pub(super) fn since(&self, number: u64) -> (u64, impl Iterator<Item = &Arc<Line>>) {
        let lost = self.gone.saturating_sub(number);
        let skipped = usize::try_from(number.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        (lost, self.lines.range(skipped.min(self.lines.len())..))
    }

    /// The lines, from the newest.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Arc<Line>> {
        self.lines.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::testing::line;
    use super::*;

    fn ids<'a>(lines: impl Iterator<Item = &'a Arc<Line>>) -> Vec<u64> {
        lines.map(|line| line.id).collect()
    }

    /// What happens to a ring.
    #[derive(Clone, Debug)]
    enum Step {
        /// A line with a message of so many bytes.
        Push(usize),
        /// Its share is so many bytes from now on.
        Share(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            9 => (0_usize..6_000).prop_map(Step::Push),
            1 => (0_usize..100_000).prop_map(Step::Share),
        ]
    }

    proptest! {
        #[test]
        fn the_latest_lines_are_kept_within_the_bounds(
            steps in prop::collection::vec(step(), 1..300),
            asked in 0_u64..300,
        ) {
            let (mut ring, mut share, mut pushed) = (Ring::default(), 50_000, Vec::new());
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        let line = line(pushed.len() as u64, &"x".repeat(bytes));
                        pushed.push(line.bytes());
                        ring.push(line, share);
                    }
                    Step::Share(bytes) => {
                        share = bytes;
                        ring.trim(share);
                    }
                }
                let kept: usize = ring.lines.iter().map(|line| line.bytes()).sum();
                prop_assert_eq!(kept, ring.bytes);
                prop_assert!(kept <= share && ring.lines.len() <= MAX_LINES);
                // What is kept are the latest, without a gap.
                prop_assert_eq!(ring.next(), pushed.len() as u64);
                prop_assert_eq!(ids(ring.lines.iter()), (ring.gone..ring.next()).collect::<Vec<_>>());
            }
            let (lost, here) = ring.since(asked);
            let expected: Vec<_> = (asked.max(ring.gone)..ring.next()).collect();
            prop_assert_eq!(ids(here), expected);
            prop_assert_eq!(lost, ring.gone.saturating_sub(asked));
        }
    }

    #[test]
    fn no_more_lines_are_kept_than_may_be_and_as_many_as_fit() {
        let mut ring = Ring::default();
        for id in 0..2_500 {
            ring.push(line(id, ""), 1 << 20);
        }
        assert_eq!(ids(ring.lines.iter()), (1_500..2_500).collect::<Vec<_>>());
        let one = line(0, "").bytes();
        ring.trim(one * 3 + 1);
        assert_eq!(ids(ring.newest_first()), [2_499, 2_498, 2_497]);
        ring.push(line(2_500, &"x".repeat(one * 3)), one * 3);
        assert_eq!((ring.lines.len(), ring.bytes, ring.next()), (0, 0, 2_501));
    }
}
