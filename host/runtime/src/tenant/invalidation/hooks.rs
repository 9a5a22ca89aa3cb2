//! What policies say that a change ends.
//!
//! They are asked when a change is durable and nobody can see it yet, so the writer waits for them, too. One
//! that fails to answer ends everything that it could have meant. What they said is not kept: whoever
//! begins to ask a policy ends what was made before that, because nobody knows what it would have said.
//! Out of scope: how a policy is asked (`policy`).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use tracing::warn;
use weir_cache::tag::{Changed, Tag};
use weir_core::Position;
use weir_core::name::Name;
use weir_store::Change;

use super::Ended;
use super::what::pipeline;

/// Says which tags a change ends.
#[async_trait]
pub trait Ending: Send + Sync {
    /// The tags that these lines of a collection end.
    ///
    /// # Errors
    /// It cannot say. The text is for people.
    async fn ended_by(&self, collection: &Name, lines: &[Change]) -> Result<Vec<Tag>, String>;
}

/// A policy that is asked about each change.
#[derive(Clone)]
pub struct ChangeHook {
    /// Its name.
    pub policy: Name,
    /// Another one has another.
    pub version: String,
    /// How it is asked.
    pub ending: Arc<dyn Ending>,
    /// The pipelines that have this policy.
    pub pipelines: Vec<Name>,
}

impl ChangeHook {
    /// Asks about lines that have been applied, and ends what the policy says.
    pub(super) async fn applied(
        &self,
        ended: &Ended,
        collection: &Name,
        lines: &[Change],
        changed: Changed,
    ) {
        let failed = match self.ending.ended_by(collection, lines).await {
            Ok(tags) if tags.is_empty() => return,
            Ok(tags) if ended.tags.try_record(&tags, changed) => {
                ended.said.fetch_max(changed.last.0, Relaxed);
                return;
            }
            Ok(_) => "there is no room for the tags that it ends".to_owned(),
            Err(error) => error,
        };
        let (policy, collection) = (self.policy.as_str(), collection.as_str());
        let position = changed.last.0;
        warn!(
            policy,
            collection,
            position,
            error = failed,
            "everything that was kept for the pipelines with this policy ends, because it did not say \
             what this change ends"
        );
        self.end_all(ended, changed.last);
    }

    /// What is new of it, compared with those that are already asked.
    pub(in crate::tenant) fn begun_after(&self, asked: &[Self]) -> Option<Self> {
        let is_asked = |pipeline: &Name| {
            asked.iter().any(|asked| {
                asked.policy == self.policy
                    && asked.version == self.version
                    && asked.pipelines.contains(pipeline)
            })
        };
        let pipelines = self.pipelines.iter().filter(|name| !is_asked(name)).cloned();
        let begun = Self { pipelines: pipelines.collect(), ..self.clone() };
        (!begun.pipelines.is_empty()).then_some(begun)
    }

    fn end_all(&self, ended: &Ended, at: Position) {
        for name in &self.pipelines {
            ended.rules.note(pipeline(name), Changed { last: at, began: None });
        }
    }
}

impl Ended {
    /// The policies that are asked.
    pub(in crate::tenant) fn asked(&self) -> Arc<[ChangeHook]> {
        Arc::clone(&self.hooks.read())
    }

    /// Has these policies asked about every change that is not applied yet.
    pub(in crate::tenant) fn ask(&self, hooks: Arc<[ChangeHook]>) {
        *self.hooks.write() = hooks;
    }

    /// Ends what was made before `head` for the pipelines of these policies.
    pub(in crate::tenant) fn end_before(&self, head: Position, hooks: &[ChangeHook]) {
        hooks.iter().for_each(|hook| hook.end_all(self, head));
    }
}
