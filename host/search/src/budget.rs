//! What a search may cost those who share the machine: so many steps, and the time until its
//! deadline. Whoever scans or filters spends from it as it goes, and stops where it is used up.
//!
//! A step is a small piece of work, such as one comparison of a filter. How many steps vectors take
//! depends on the operator's collection, so they only *pass*. Those that a query is to blame for, by
//! its filter and its words, are *taken* from the budget. Out of scope: bytes, which are charged
//! before a search begins.

use std::cell::Cell;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::VectorError;

/// The most steps of a search: a filter of three conditions for over two million documents.
pub const MAX_STEPS: u64 = 20_000_000;
/// How many steps may be made between two looks at the clock, which costs more than a step.
const STEPS_BETWEEN_LOOKS: u64 = 100_000;

/// The budget of one search.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    until_look: Cell<u64>,
    deadline: Instant,
    abandoned: CancellationToken,
}

impl Budget {
    /// A budget of so many steps. The search stops at `deadline`, or when `abandoned` says that
    /// nobody waits for it any more.
    #[must_use]
    pub fn new(steps: u64, deadline: Instant, abandoned: CancellationToken) -> Self {
        let until_look = Cell::new(STEPS_BETWEEN_LOOKS);
        Self { left: Cell::new(steps), until_look, deadline, abandoned }
    }

    /// Makes `steps` that do not count, such as comparing vectors.
    ///
    /// # Errors
    /// The deadline has passed, or nobody waits for the search.
    #[inline]
    pub fn pass(&self, steps: u64) -> Result<(), VectorError> {
        match self.until_look.get().checked_sub(steps) {
            Some(left) => {
                self.until_look.set(left);
                Ok(())
            }
            None => self.look(),
        }
    }

    /// Makes `steps` that the query is to blame for.
    ///
    /// # Errors
    /// The query has used up its steps, the deadline has passed, or nobody waits for the search.
    #[inline]
    pub fn take(&self, steps: u64) -> Result<(), VectorError> {
        let left = self.left.get().checked_sub(steps).ok_or(VectorError::TooCostly)?;
        self.left.set(left);
        self.pass(steps)
    }

    #[cold]
    fn look(&self) -> Result<(), VectorError> {
        self.until_look.set(STEPS_BETWEEN_LOOKS);
        if self.abandoned.is_cancelled() || Instant::now() >= self.deadline {
            return Err(VectorError::TimedOut);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn budget(steps: u64, until_deadline: Duration) -> Budget {
        Budget::new(steps, Instant::now() + until_deadline, CancellationToken::new())
    }

    /// What `step` returns first, if it is repeated, but not more often than this.
    fn ends(most: u64, step: impl Fn() -> Result<(), VectorError>) -> Result<(), VectorError> {
        (0..most).try_for_each(|_| step())
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn steps_that_the_query_makes_are_counted() {
        let of_ten = budget(10, HOUR);
        assert_eq!(ends(3, || of_ten.take(3)), Ok(()));
        assert_eq!(of_ten.pass(1_000_000), Ok(()));
        assert_eq!(of_ten.take(2), Err(VectorError::TooCostly));
        assert_eq!(of_ten.take(1), Ok(()));
        assert_eq!(of_ten.take(u64::MAX), Err(VectorError::TooCostly));
    }

    #[test]
    fn a_search_stops_at_its_deadline_and_when_nobody_waits() {
        let late = budget(u64::MAX, Duration::ZERO);
        assert_eq!(ends(2 * STEPS_BETWEEN_LOOKS, || late.pass(1)), Err(VectorError::TimedOut));
        assert_eq!(ends(2 * STEPS_BETWEEN_LOOKS, || late.take(1)), Err(VectorError::TimedOut));
        let abandoned = budget(u64::MAX, HOUR);
        assert_eq!(ends(2 * STEPS_BETWEEN_LOOKS, || abandoned.pass(1)), Ok(()));
        abandoned.abandoned.cancel();
        assert_eq!(ends(2, || abandoned.pass(STEPS_BETWEEN_LOOKS)), Err(VectorError::TimedOut));
    }
}
