//! Nodes of a Cluster that do not answer, while the others do.
//!
//! The guard takes a Cluster for one backend, which answers as long as some of its nodes do. Where these go on
//! without the node (`cluster-require-full-coverage no`), the client asks it forever, although a replica has
//! long taken its place. So calls that nobody answered are counted for each part of the keys: a node has a
//! range of their slots.
//!
//! Out of scope: what is done about it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fred::util::redis_keyslot;

const SLOTS: usize = 16_384;
/// Nodes have larger ranges than this in any but the largest Clusters.
const PARTS: usize = 16;
/// So many calls in a row for one part mean that its node is stuck.
const STUCK_AFTER: u32 = 5;

/// Calls that were not answered, in a row, for each part of the keys.
#[derive(Default)]
pub(super) struct Unanswered([AtomicU32; PARTS]);

/// A call in progress. If it is dropped before it is answered, its caller has waited for too long.
pub(super) struct Call<'a> {
    part: &'a AtomicU32,
    is_answered: bool,
}

impl Unanswered {
    /// A call for this key begins.
    pub(super) fn call(&self, name: &str) -> Call<'_> {
        let part = usize::from(redis_keyslot(name.as_bytes())) * PARTS / SLOTS;
        Call { part: &self.0[part], is_answered: false }
    }

    /// Whether a node is stuck. If so, counting begins again.
    pub(super) fn is_stuck(&self) -> bool {
        let is_stuck = self.0.iter().any(|part| part.load(Relaxed) >= STUCK_AFTER);
        if is_stuck {
            self.0.iter().for_each(|part| part.store(0, Relaxed));
        }
        is_stuck
    }
}

impl Call<'_> {
    /// There was an answer, or there is no connection that could be stuck.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
        self.part.store(0, Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.part.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_in_a_row_for_a_part_mean_that_its_node_is_stuck() {
        let (unanswered, stuck, works) = (Unanswered::default(), "a", "b");
        assert_ne!(
            usize::from(redis_keyslot(stuck.as_bytes())) * PARTS / SLOTS,
            usize::from(redis_keyslot(works.as_bytes())) * PARTS / SLOTS
        );
        for _ in 1..STUCK_AFTER {
            drop(unanswered.call(stuck));
        }
        unanswered.call(stuck).answered();
        for number in 0..STUCK_AFTER {
            assert!(!unanswered.is_stuck(), "{number}");
            drop(unanswered.call(stuck));
            unanswered.call(works).answered();
        }
        assert!(unanswered.is_stuck());
        assert!(!unanswered.is_stuck(), "until it is again");
    }
}
