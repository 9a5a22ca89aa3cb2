//! Connections on which nobody answers, while others work.
//!
//! The guard takes a Redis for one backend, which answers as long as one of the connections does. A primary
//! that stops leaves its connections open; if one of them is made anew, and leads to the next primary, the
//! others would be asked forever. The same holds for the nodes of a Cluster, where these go on without the
//! one that stopped (`cluster-require-full-coverage no`). So calls that nobody answered are counted for each
//! connection; and on a connection to a Cluster, which is one to each of its nodes, for each part of the
//! keys, because a node has a range of their slots.
//!
//! Out of scope: what is done about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fred::util::redis_keyslot;

const SLOTS: usize = 16_384;
/// Nodes have larger ranges than this in any but the largest Clusters.
const PARTS_OF_CLUSTER: usize = 16;
/// So many calls in a row for one part mean that its node is stuck.
const STUCK_AFTER: u32 = 5;

/// Calls that were not answered, in a row, on one connection, for each part of the keys.
pub(super) struct Unanswered(Box<[AtomicU32]>);

/// A call in progress. If it is dropped before it is answered, its caller has waited for too long.
pub(super) struct Call {
    unanswered: Arc<Unanswered>,
    part: usize,
    is_answered: bool,
}

impl Unanswered {
    /// Of a connection to one server.
    pub(super) fn of_server() -> Self {
        Self::of_parts(1)
    }

    /// Of a connection to all nodes of a Cluster.
    pub(super) fn of_cluster() -> Self {
        Self::of_parts(PARTS_OF_CLUSTER)
    }

    fn of_parts(parts: usize) -> Self {
        Self((0..parts).map(|_| AtomicU32::new(0)).collect())
    }

    /// A call for this key begins.
    pub(super) fn call(self: &Arc<Self>, name: &str) -> Call {
        let part = self.part(name);
        Call { unanswered: Arc::clone(self), part, is_answered: false }
    }

    fn part(&self, name: &str) -> usize {
        usize::from(redis_keyslot(name.as_bytes())) * self.0.len() / SLOTS
    }

    /// Whether nobody answers for one of the parts.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.iter().any(|part| part.load(Relaxed) >= STUCK_AFTER)
    }
}

impl Call {
    /// There was an answer, or there is no connection that could be stuck.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
        self.unanswered.0[self.part].store(0, Relaxed);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_answered {
            self.unanswered.0[self.part].fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_in_a_row_mean_that_a_connection_is_stuck() {
        let unanswered = Arc::new(Unanswered::of_server());
        for _ in 1..STUCK_AFTER {
            drop(unanswered.call("a"));
        }
        unanswered.call("b").answered();
        for number in 0..STUCK_AFTER {
            assert!(!unanswered.is_stuck(), "{number}");
            drop(unanswered.call("a"));
        }
        assert!(unanswered.is_stuck());
    }

    #[test]
    fn answers_of_one_node_say_nothing_of_another() {
        let (unanswered, stuck, works) = (Arc::new(Unanswered::of_cluster()), "a", "b");
        assert_ne!(unanswered.part(stuck), unanswered.part(works));
        for number in 0..STUCK_AFTER {
            assert!(!unanswered.is_stuck(), "{number}");
            drop(unanswered.call(stuck));
            unanswered.call(works).answered();
        }
        assert!(unanswered.is_stuck());
    }
}
