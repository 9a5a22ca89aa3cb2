//! What a run reads, and the position at which all of it is exact.
//!
//! A run reads everything from one [`View`], the newest one at its first read. The answer is exact
//! at every position that is not before the last line of any collection that it read, and not
//! after what any of them has applied. If there is none, because one lags behind an acknowledged
//! write to another, or if it is before the position that the client demands, the run is done
//! again once with a later view. If that does not help, the answer is *split*: each collection
//! has a position of its own.
//!
//! Out of scope: doing a run again ([`Runner`](crate::pipeline::Runner)), and what the cache does
//! with a position ([`answers`](crate::answers)).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_core::fault::{self, Fault};
use weir_core::name::Name;
use weir_core::{Commit, Position};
use weir_embedding::Embedder;
use weir_search::Snapshot;
use weir_search::progress::{Progress, View};

/// What a client demands of an answer's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The answer states this position or a later one.
    pub at_least: Position,
    /// How long to wait for it, or for a position that all collections have in common.
    pub patience: Duration,
}

/// The position that an answer is exact at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// One for everything.
    At(Commit),
    /// One for each collection that was read, by name.
    Split(Box<[(Name, Commit)]>),
}

/// The state that a run reads.
pub struct Reading {
    progress: Arc<Progress>,
    at_least: Position,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set by the first read.
    view: Option<Arc<View>>,
    /// The model that was used before the first read.
    embedder: Option<Arc<dyn Embedder>>,
    collections: BTreeSet<Name>,
}

/// A collection is not applied as far as the client demands, or has vectors of another model than
/// the run has used, so the run has to be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

/// Why a run has to be done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// Something that it read is behind the demanded position, or the model has changed in between.
    Behind,
    /// The collections have no position in common. These are theirs.
    Split(Box<[(Name, Commit)]>),
}

impl Reading {
    /// Reads from the newest view of `progress` at the first read.
    #[must_use]
    pub fn new(progress: Arc<Progress>, at_least: Position) -> Self {
        Self { progress, at_least, state: Mutex::default() }
    }

    /// Reads from `view`.
    #[must_use]
    pub fn of(progress: Arc<Progress>, at_least: Position, view: Arc<View>) -> Self {
        let state = State { view: Some(view), ..State::default() };
        Self { progress, at_least, state: Mutex::new(state) }
    }

    /// The model that made the vectors of what is read.
    #[must_use]
    pub fn embedder(&self) -> Arc<dyn Embedder> {
        let mut state = self.state.lock();
        let State { view, embedder, .. } = &mut *state;
        match view {
            Some(view) => Arc::clone(view.embedder()),
            // The first read may come much later, so the view is not taken for this.
            None => {
                let newest = || self.progress.read(|view| Arc::clone(view.embedder()));
                Arc::clone(embedder.get_or_insert_with(newest))
            }
        }
    }

    /// The state of the collection, `None` if it does not exist, and notes that it is read.
    ///
    /// # Errors
    /// It is behind the demanded position, or the model has changed since it was used.
    pub fn read(&self, collection: &Name) -> Result<Option<Arc<dyn Snapshot>>, Behind> {
        let mut state = self.state.lock();
        let State { view, embedder, collections } = &mut *state;
        let view = view.get_or_insert_with(|| self.progress.view());
        if !collections.contains(collection) {
            collections.insert(collection.clone());
        }
        if view.applied(collection).position < self.at_least || !is_of(view, embedder.as_ref()) {
            return Err(Behind);
        }
        Ok(view.snapshot(collection).cloned())
    }

    /// The position at which everything that was read is exact.
    ///
    /// # Errors
    /// There is none, or it is before the demanded one.
    pub fn settle(&self) -> Result<Commit, Unsettled> {
        let state = self.state.lock();
        let settle = |view: &View| {
            if !is_of(view, state.embedder.as_ref()) {
                return Err(Unsettled::Behind);
            }
            settle(view, &state.collections, self.at_least)
        };
        match &state.view {
            Some(view) => settle(view),
            // Nothing was read.
            None => self.progress.read(settle),
        }
    }

    /// Waits for a view in which what was read has a position that satisfies the demand; forever
    /// if there never is one.
    pub async fn settled_view(&self) -> Arc<View> {
        let collections = self.state.lock().collections.clone();
        let wanted = |view: &View| settle(view, &collections, self.at_least).is_ok();
        self.progress.wait_for(wanted).await
    }
}

/// Whether the vectors of the view are of the model, if one was used.
fn is_of(view: &View, embedder: Option<&Arc<dyn Embedder>>) -> bool {
    embedder.is_none_or(|used| Arc::ptr_eq(used, view.embedder()))
}

fn settle(
    view: &View,
    collections: &BTreeSet<Name>,
    at_least: Position,
) -> Result<Commit, Unsettled> {
    let applied = view.all_applied(collections);
    if applied.position < at_least {
        return Err(Unsettled::Behind);
    }
    let lowest = || fault::is(Fault::NeverRestarts).then_some(applied);
    if let Some(common) = view.common(collections).or_else(lowest) {
        return Ok(common);
    }
    // Not later than necessary: an answer that comes next and has one position for all states at
    // least the last lines, but may state no more than the slowest has applied.
    let position = |collection: &Name| (collection.clone(), view.last(collection).max(applied));
    Err(Unsettled::Split(collections.iter().map(position).collect()))
}

impl Stated {
    /// The one position, if it is not split.
    #[must_use]
    pub fn at(&self) -> Option<Commit> {
        match self {
            Self::At(commit) => Some(*commit),
            Self::Split(_) => None,
        }
    }
}
