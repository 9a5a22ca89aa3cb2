//! What becomes of a new answer: admitted by the policy, and stored with all that it read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_cache::CacheKey;
use weir_cache::entry::Entry;
use weir_cache::tag::{Reads, Tag};
use weir_core::Position;

use super::{Answers, NotStored, StoredAnswer, Via};
use crate::policy::component::{Outcome, RequestView};
use crate::policy::plan::{Lifetime, Storage};
use crate::policy::{Admission, Policy};
use crate::tenant::Tenant;

/// An answer on its way into the tiers.
pub(super) struct Fill<'a> {
    pub(super) key: CacheKey,
    pub(super) answer: &'a Arc<StoredAnswer>,
    pub(super) as_of: Position,
    pub(super) tags: &'a [Tag],
    pub(super) reads: &'a Reads,
    pub(super) tenant: &'a Tenant,
}

impl Answers {
    /// Asks the policy whether to keep the answer, and keeps it.
    pub(super) async fn fill(
        &self,
        fill: Fill<'_>,
        policy: &Arc<Policy>,
        view: RequestView,
        outcome: Outcome,
    ) -> Via {
        let admission = if policy.has_admission() {
            self.ask(policy, move |policy| policy.admit(&view, &outcome)).await
        } else {
            policy.admit(&view, &outcome).ok()
        };
        match admission {
            Some(Admission::Store(storage)) => self.store(&fill, &storage),
            Some(Admission::DoNotStore(_)) => Via::NotStored(NotStored::Policy),
            None => Via::NotStored(NotStored::PolicyFailed),
        }
    }

    fn store(&self, fill: &Fill<'_>, storage: &Storage) -> Via {
        let Some(lifetime) = &storage.memory else {
            return Via::NotStored(NotStored::Tiers);
        };
        if fill.reads.changed_after(fill.as_of) {
            // Written to while it was made: the entry would be a miss from the first.
            return Via::NotStored(NotStored::Changed);
        }
        let reads = fill.tenant.tags.resolve(&[fill.tags, &storage.tags].concat());
        let entry = Entry {
            value: Arc::clone(fill.answer),
            as_of: fill.as_of,
            reads,
            stored_at: Instant::now(),
            ttl: jittered(lifetime, &fill.key),
            weight_bytes: fill.answer.weight_bytes(),
        };
        match self.memory.insert(fill.key, entry) {
            Ok(()) => Via::Stored,
            Err(_) => Via::NotStored(NotStored::TooLarge),
        }
    }
}

/// The ttl, shortened by a share that the key decides: entries made together do not end
/// together, and a key's ttl is the same on every node.
fn jittered(lifetime: &Lifetime, key: &CacheKey) -> Duration {
    let share = f64::from(key.as_bytes()[31]) / 255.0 * f64::from(lifetime.jitter_percent) / 100.0;
    lifetime.ttl.mul_f64(1.0 - share).max(Duration::from_millis(1))
}
