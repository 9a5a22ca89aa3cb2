//! Compares an engine with its truth at the start, and decides from where it goes on.
//!
//! An engine belongs to the truth if every position that it names has the same chain value there.
//! One of another history, such as an index next to a restored truth, and one that lacks lines
//! which are trimmed, is cleared and rebuilt.

use std::sync::Arc;

use weir_core::name::Name;
use weir_core::{Commit, Position};
use weir_embedding::Embedder;
use weir_store::{Invalidations, Past, Truth};

use super::CatchUpError;
use crate::VectorStore;
use crate::progress::{Lag, View};

/// From where the catch-up goes on.
pub(super) struct StartingPoint {
    /// What readers see first: the head of the log is heard.
    pub(super) view: View,
    /// The commit at which collections are read that the engine does not have, if it was cleared.
    pub(super) rebuild: Option<Commit>,
    /// What was invalidated after what the engine has.
    pub(super) invalidations: Invalidations,
}

/// Compares them. `embedder` makes the engine's vectors, and no answer before `since` is made with
/// them.
pub(super) async fn reconcile(
    truth: &dyn Truth,
    store: &dyn VectorStore,
    embedder: Arc<dyn Embedder>,
    since: Position,
) -> Result<StartingPoint, CatchUpError> {
    let trimmed = truth.trimmed().await?;
    let reason = mismatch(truth, store, trimmed).await?;
    if let Some(reason) = reason {
        tracing::warn!(reason, "the search index is rebuilt");
        store.clear().await?;
    }
    let (stored, completed) = (store.stored(), store.completed());
    let is_new = stored.is_empty() && completed == Commit::ZERO;
    let rebuild = (is_new && trimmed > Commit::ZERO).then_some(trimmed);
    let news = truth.news(rebuild.unwrap_or(completed).position).await?;
    // A new index can be older than what was answered from the one before it. It has not been
    // complete until it was as far as that: see `trim`.
    let is_complete = completed > Commit::ZERO;
    let required = if is_complete { since } else { news.head.position };

    let mut view = View::at_start(news.head, required, embedder);
    for (collection, has) in stored {
        view.insert(collection, has.last, has.snapshot);
    }
    if let Some(at) = rebuild {
        for collection in truth.collections_at(at.position).await? {
            view.lag(&collection, Lag { applied: Commit::ZERO, target: at.position });
        }
    }
    for (collection, target) in news.collections {
        let last = view.last(&collection);
        if target <= last.position {
            continue;
        }
        let rebuilt = view.lags().any(|(lagging, _)| *lagging == collection);
        let applied = if rebuilt {
            Commit::ZERO
        } else {
            let known = if rebuild.is_some() { trimmed } else { last.max(completed) };
            before_next_line(truth, &collection, known).await?
        };
        view.lag(&collection, Lag { applied, target });
    }
    Ok(StartingPoint { view, rebuild, invalidations: news.invalidations })
}

/// The commit before the first line of the collection after `applied`. An answer from before the
/// start may have stated any position up to it, because the collection was idle until then.
async fn before_next_line(
    truth: &dyn Truth,
    collection: &Name,
    applied: Commit,
) -> Result<Commit, CatchUpError> {
    let lines = truth.log(collection, applied.position, 1).await?;
    let Some(next) = lines.first() else { return Ok(applied) };
    let position = Position(next.commit.position.0 - 1);
    match truth.history(position).await? {
        Past::Known(chain) if position > applied.position => Ok(Commit { position, chain }),
        _ => Ok(applied),
    }
}

/// Why the engine cannot go on from where it is, if it cannot.
async fn mismatch(
    truth: &dyn Truth,
    store: &dyn VectorStore,
    trimmed: Commit,
) -> Result<Option<&'static str>, CatchUpError> {
    let (stored, completed) = (store.stored(), store.completed());
    if stored.is_empty() && completed == Commit::ZERO {
        return Ok(None);
    }
    // What is not after `completed` was applied together with it.
    let last = stored.values().map(|has| has.last).filter(|last| *last > completed);
    for commit in last.chain([completed]) {
        match truth.history(commit.position).await? {
            Past::Known(chain) if chain == commit.chain => {}
            Past::Known(_) | Past::Forgotten => {
                return Ok(Some("it was built from another history of the documents"));
            }
            Past::NotYet => return Ok(Some("it is ahead of the documents")),
        }
    }
    Ok((completed < trimmed).then_some("changes that it lacks are no longer kept"))
}
