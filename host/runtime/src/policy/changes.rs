//! The hook `changes`: what a change ends besides the answers that were made from what changed. Out of
//! scope: when it is asked, and what a tag ends (`tenant::invalidation`).

use std::sync::Arc;

use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::tag::Tag;
use weir_core::name::Name;
use weir_store::{Change, ChangeKind};

use super::component::Policy;
use super::error::PolicyError;
use super::sandbox::Sandbox;
use crate::engine::guests::PipelineGuests;
use crate::engine::slots::NoSlot;

/// The most changes that a policy is shown at once.
const MAX_CHANGES: usize = 1_000;
/// The most tags that it may end at once.
const MAX_TAGS: usize = 1_000;

impl Policy {
    /// Whether the component has a say in what changes end.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// Asks `changes` which tags these lines of a collection end, in a slot for decisions of a pipeline that
    /// has this policy.
    ///
    /// # Errors
    /// No slot became free in time, or, the inner error, the policy failed: nobody knows which.
    pub async fn ended_by(
        self: &Arc<Self>,
        guests: &PipelineGuests,
        collection: &Name,
        lines: &[Change],
    ) -> Result<Result<Vec<Tag>, PolicyError>, NoSlot> {
        let mut tags = Vec::new();
        let changes: Vec<_> = lines.iter().filter_map(|line| to_wit(&line.kind)).collect();
        for changes in changes.chunks(MAX_CHANGES) {
            match self.ended_by_some(guests, collection, changes.to_vec()).await? {
                Ok(more) => tags.extend(more),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(tags))
    }

    async fn ended_by_some(
        self: &Arc<Self>,
        guests: &PipelineGuests,
        collection: &Name,
        changes: Vec<wit::Change>,
    ) -> Result<Result<Vec<Tag>, PolicyError>, NoSlot> {
        let Some(indices) = self.changes.clone() else { return Ok(Ok(Vec::new())) };
        let (policy, budget) = (Arc::clone(self), Sandbox::budget(guests));
        let collection = collection.as_str().to_owned();
        let decision = || async move {
            let decision = policy.sandbox.decide(budget, async |store, instance| {
                indices.load(&mut *store, instance)?.call_end(store, &collection, &changes).await
            });
            policy.ended(decision.await)
        };
        Ok(guests.decide(decision).await?.ended().await.unwrap_or_else(|| Err(self.panicked())))
    }

    fn ended(&self, decision: wasmtime::Result<Vec<String>>) -> Result<Vec<Tag>, PolicyError> {
        let tags = decision.map_err(|error| self.has_failed(&error))?;
        let failed = |reason| PolicyError::Failed { name: self.name.clone(), reason };
        if tags.len() > MAX_TAGS {
            let count = tags.len();
            return Err(failed(format!(
                "`changes` returned {count} tags; at most {MAX_TAGS} are allowed"
            )));
        }
        let tag = |tag: &String| {
            Tag::of_policy(&self.name, tag)
                .map_err(|error| failed(format!("`changes` returned the tag '{tag}': {error}")))
        };
        tags.iter().map(tag).collect()
    }
}

/// `None` if no document and no collection has changed.
fn to_wit(kind: &ChangeKind) -> Option<wit::Change> {
    Some(match kind {
        ChangeKind::CollectionCreated => wit::Change::CollectionCreated,
        ChangeKind::CollectionDeleted => wit::Change::CollectionDeleted,
        ChangeKind::DocumentPut(id) => wit::Change::DocumentPut(id.as_str().to_owned()),
        ChangeKind::DocumentDeleted(id) => wit::Change::DocumentDeleted(id.as_str().to_owned()),
        ChangeKind::Rolled | ChangeKind::ModelChanged => return None,
    })
}
