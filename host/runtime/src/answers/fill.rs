//! Stores a new answer, if its policy admits it, together with everything that it was made from.
//!
//! Out of scope: whether the answer may be shared, which the caller has already decided.

use std::sync::Arc;
use std::time::Duration;

use weir_cache::CacheKey;
use weir_cache::encoding::{Portable, Record};
use weir_cache::entry::{Entry, Moment};
use weir_cache::reads::Dependencies;

use tracing::warn;

use super::made::Made;
use super::{Answers, NotStored, StoredAnswer, Via};
use crate::deploy::Deployment;
use crate::engine::slots::NoSlot;
use crate::policy::component::{Outcome, RequestView};
use crate::policy::plan::Storage;
use crate::policy::{Admission, Policy};
use crate::request::RequestId;
use crate::tenant::Tenant;

/// An answer that is about to be stored.
pub(super) struct Fill<'a> {
    pub(super) key: CacheKey,
    pub(super) answer: &'a Arc<StoredAnswer>,
    pub(super) made: &'a Made,
    pub(super) tenant: &'a Tenant,
    /// The request that led to it.
    pub(super) request_id: &'a RequestId,
}

impl Answers {
    /// Asks the policy whether to store the answer, and stores it if so.
    pub(super) async fn fill(
        &self,
        fill: Fill<'_>,
        deployment: &Deployment,
        policy: &Arc<Policy>,
        view: RequestView,
        outcome: Outcome,
    ) -> Via {
        let compute = outcome.compute;
        match policy.admit(&deployment.runner.guests, view, outcome).await {
            Ok(Ok(Admission::Store(storage))) => self.store(&fill, deployment, &storage, compute),
            Ok(Ok(Admission::DoNotStore(_))) => Via::NotStored(NotStored::Policy),
            Ok(Err(error)) => {
                let (policy, request_id) = (policy.name.as_str(), fill.request_id.as_str());
                warn!(policy, request_id, %error, "the answer is not stored");
                Via::NotStored(NotStored::PolicyFailed)
            }
            Err(NoSlot) => Via::NotStored(NotStored::PolicyBusy),
        }
    }

    fn store(
        &self,
        fill: &Fill<'_>,
        deployment: &Deployment,
        storage: &Storage,
        compute: Duration,
    ) -> Via {
        let shared = self.shared.as_ref().zip(storage.shared.as_ref());
        if storage.memory.is_none() && shared.is_none() {
            return Via::NotStored(NotStored::Tiers);
        }
        if fill.made.cells.changed_after(fill.made.as_of.position) {
            // What was read changed during the run: the entry would never be a hit.
            return Via::NotStored(NotStored::Changed);
        }
        let depends_on = Dependencies::new(fill.made.reads.clone(), storage.tags.clone());
        let memory = storage.memory.map(|lifetime| lifetime.of(&fill.key));
        let stored_at = Moment::now();
        let mut stored = false;
        if let Some((tier, lifetime)) = shared {
            let record = Record {
                value: Arc::clone(fill.answer),
                as_of: fill.made.as_of,
                depends_on: depends_on.clone(),
                stored_at,
                compute,
                shared: lifetime.of(&fill.key),
                memory,
            };
            stored |= tier.put(fill.key, record);
        }
        if let Some(lifetime) = memory {
            let entry = Entry {
                value: Arc::clone(fill.answer),
                as_of: fill.made.as_of,
                reads: fill.tenant.ended.tags.resolve(&depends_on.tags()),
                depends_on,
                stored_at,
                compute,
                lifetime,
                weight_bytes: Portable::weight_bytes(fill.answer),
            };
            if let Ok(bytes) = self.memory.insert(fill.key, entry) {
                fill.answer.hold(deployment, bytes);
                stored = true;
            }
        }
        if stored { Via::Stored } else { Via::NotStored(NotStored::TooLarge) }
    }
}
