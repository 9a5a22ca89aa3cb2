//! The best few of many candidates, in [`rank_order`](crate::plan::rank_order).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use weir_core::name::DocumentId;

/// A chunk with its score. A greater candidate is a better one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a, T> {
    pub(super) score: f32,
    pub(super) id: &'a DocumentId,
    /// The index of the chunk within its document.
    pub(super) chunk: u32,
    /// The caller's own data about the chunk.
    pub(super) of: T,
}

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
    pub(super) fn offer(&mut self, candidate: Candidate<'a, T>, may_enter: impl FnOnce() -> bool) {
        if self.worst_first.len() < self.depth {
            if may_enter() {
                self.worst_first.push(Reverse(candidate));
            }
        } else if let Some(mut worst) = self.worst_first.peek_mut() {
            // The heap is reordered only if `worst` is dereferenced mutably.
            if candidate > worst.0 && may_enter() {
                *worst = Reverse(candidate);
            }
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = Candidate<'a, T>> {
        self.worst_first.into_sorted_vec().into_iter().map(|Reverse(candidate)| candidate)
    }
}

impl<T> Ord for Candidate<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| other.id.cmp(self.id)).then_with(|| other.chunk.cmp(&self.chunk))
    }
}

impl<T> PartialOrd for Candidate<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Candidate<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Candidate<'_, T> {}
