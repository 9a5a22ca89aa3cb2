//! The best few of many candidates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::plan::Candidate;

/// The `depth` best candidates so far.
pub(super) struct Top<'a, T> {
    depth: usize,
    worst_first: BinaryHeap<Reverse<Candidate<'a, T>>>,
}

impl<'a, T> Top<'a, T> {
    pub(super) fn new(depth: usize) -> Self {
        Self { depth, worst_first: BinaryHeap::new() }
    }

    /// Keeps `candidate` if it is among the best and `may_enter` returns true. Calls `may_enter`
    /// only if it is among the best.
    pub(super) fn offer<E>(
        &mut self,
        candidate: Candidate<'a, T>,
        may_enter: impl FnOnce() -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.worst_first.len() < self.depth {
            if may_enter()? {
                self.worst_first.push(Reverse(candidate));
            }
        } else if let Some(mut worst) = self.worst_first.peek_mut() {
            // The heap is reordered only if `worst` is dereferenced mutably.
            if candidate > worst.0 && may_enter()? {
                *worst = Reverse(candidate);
            }
        }
        Ok(())
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Candidate<'a, T>> {
        let kept = self.worst_first.into_vec();
        let mut sorted: Vec<_> = kept.into_iter().map(|Reverse(candidate)| candidate).collect();
        // Faster than the heap's own sort.
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted
    }
}
