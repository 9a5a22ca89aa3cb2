//! What readers see: of each collection the newest snapshot, and the positions at which it is
//! exact, published together.
//!
//! A [`View`] is immutable and shared. It says, for each collection *name*, also of one that does
//! not exist: the position of its `last` applied line, and how far it is `applied`. From the one
//! to the other, its snapshot is exact. A collection whose lines are all applied is applied as far
//! as the log has been heard, so one that nobody writes to advances with the log.
//!
//! Whoever reads several collections from one view can therefore state any position that is not
//! before the last line of any of them, and not after what any has applied. If there is none, it
//! takes a later view ([`Progress::wait_for`]).
//!
//! Out of scope: who applies ([`catch_up`](crate::catch_up)), and what an answer states.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use weir_core::name::Name;
use weir_core::{Commit, Position};
use weir_embedding::Embedder;

use crate::Snapshot;

#[cfg(test)]
mod tests;

/// All collections at one moment.
#[derive(Clone, Debug)]
pub struct View {
    model: IndexModel,
    heard: Commit,
    required: Position,
    collections: HashMap<Name, Seen>,
}

/// The model that makes the vectors of an index.
#[derive(Clone)]
struct IndexModel(Arc<dyn Embedder>);

impl fmt::Debug for IndexModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IndexModel").field(&self.0.model()).finish()
    }
}

/// One collection at one moment.
#[derive(Clone, Debug, Default)]
struct Seen {
    last: Commit,
    lag: Option<Lag>,
    snapshot: Option<Arc<dyn Snapshot>>,
}

/// A collection that has lines which are heard but not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// How far it is applied.
    pub applied: Commit,
    /// Its last line.
    pub target: Position,
}

impl View {
    /// The model that made the vectors of all snapshots.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.model.0
    }

    /// The last commit whose lines are heard: read from the log, applied or not.
    #[must_use]
    pub fn heard(&self) -> Commit {
        self.heard
    }

    /// The earliest position that an answer may state: an index that is rebuilt can be older
    /// than answers that were given before, or differ from them up to there. Zero if the index was
    /// intact.
    #[must_use]
    pub fn required(&self) -> Position {
        self.required
    }

    /// The collection's state; `None` if it does not exist.
    #[must_use]
    pub fn snapshot(&self, collection: &Name) -> Option<&Arc<dyn Snapshot>> {
        self.collections.get(collection)?.snapshot.as_ref()
    }

    /// The first position at which the snapshot is exact: the collection's last applied line.
    #[must_use]
    pub fn last(&self, collection: &Name) -> Commit {
        self.collections.get(collection).map_or(Commit::ZERO, |seen| seen.last)
    }

    /// The last position at which the snapshot is known to be exact.
    #[must_use]
    pub fn applied(&self, collection: &Name) -> Commit {
        self.collections.get(collection).map_or(self.heard, |seen| seen.applied(self.heard))
    }

    /// How far all of `collections` are applied; what is heard if there are none.
    #[must_use]
    pub fn all_applied<'n>(&self, collections: impl IntoIterator<Item = &'n Name>) -> Commit {
        let applied = collections.into_iter().map(|name| self.applied(name));
        applied.min().unwrap_or(self.heard)
    }

    /// The last position at which all of `collections` are exact together: how far all of them are
    /// applied, unless that is before the last line of one. What is heard if there are none.
    #[must_use]
    pub fn common<'n>(&self, collections: impl IntoIterator<Item = &'n Name>) -> Option<Commit> {
        let (mut applied, mut last) = (None, Commit::ZERO);
        for collection in collections {
            // One lookup for both: each hit of the cache comes here.
            let of_this = match self.collections.get(collection) {
                Some(seen) => {
                    last = last.max(seen.last);
                    seen.applied(self.heard)
                }
                None => self.heard,
            };
            applied = Some(applied.map_or(of_this, |applied: Commit| applied.min(of_this)));
        }
        let applied = applied.unwrap_or(self.heard);
        (last <= applied).then_some(applied)
    }

    /// How far any of `collections` is applied; zero if there are none.
    #[must_use]
    pub fn any_applied<'n>(&self, collections: impl IntoIterator<Item = &'n Name>) -> Commit {
        collections.into_iter().map(|name| self.applied(name)).max().unwrap_or_default()
    }

    /// How far the whole log is applied.
    #[must_use]
    pub fn completed(&self) -> Commit {
        self.lags().map(|(_, lag)| lag.applied).min().unwrap_or(self.heard)
    }

    /// The collections that lag, in no order.
    pub fn lags(&self) -> impl Iterator<Item = (&Name, Lag)> {
        self.collections.iter().filter_map(|(name, seen)| Some((name, seen.lag?)))
    }

    /// The collections that exist and their states, in no order.
    pub fn snapshots(&self) -> impl Iterator<Item = (&Name, &Arc<dyn Snapshot>)> {
        self.collections.iter().filter_map(|(name, seen)| Some((name, seen.snapshot.as_ref()?)))
    }

    fn seen_mut(&mut self, collection: &Name) -> &mut Seen {
        self.collections.entry(collection.clone()).or_default()
    }
}

impl Seen {
    fn applied(&self, heard: Commit) -> Commit {
        // A worker can read lines of commits that are not heard yet.
        self.lag.map_or(heard.max(self.last), |lag| lag.applied)
    }
}

/// The newest view, and how to wait for a later one.
#[derive(Debug)]
pub struct Progress {
    view: watch::Sender<Arc<View>>,
}

impl Progress {
    /// Begins with `view`.
    pub(crate) fn new(view: View) -> Self {
        Self { view: watch::Sender::new(Arc::new(view)) }
    }

    /// The newest view.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Reads the newest view without taking a share of it. Publishing waits meanwhile, so `read`
    /// must be quick.
    pub fn read<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.view.borrow())
    }

    /// Waits for a view for which `wanted` is true; forever if there never is one. Dropping the
    /// future changes nothing.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&View) -> bool) -> Arc<View> {
        let mut views = self.view.subscribe();
        let found = views.wait_for(|view| wanted(view)).await.map(|view| Arc::clone(&view));
        match found {
            Ok(view) => view,
            // The sender lives as long as `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Publishes that the log is heard up to `head`, and the last line of each collection that
    /// has new ones.
    pub(crate) fn hear(&self, head: Commit, targets: &[(Name, Position)]) {
        self.view.send_modify(|view| Arc::make_mut(view).hear(head, targets));
    }

    /// Publishes the state of a collection after its line `last`.
    pub(crate) fn apply(
        &self,
        collection: &Name,
        last: Commit,
        snapshot: Option<Arc<dyn Snapshot>>,
    ) {
        let old = {
            let mut old = None;
            self.view.send_modify(|view| {
                old = Arc::make_mut(view).apply(collection, last, snapshot);
            });
            old
        };
        // Freed after readers can go on.
        drop(old);
    }

    /// Publishes the view of another index, with which answers begin at `at`.
    pub(crate) fn take_over(&self, view: &View, at: Position) {
        let view = View { required: view.required.max(at), ..view.clone() };
        let old = self.view.send_replace(Arc::new(view));
        // Freed after readers can go on.
        drop(old);
    }

    /// Publishes that no answer may state a position before `position`.
    pub(crate) fn require(&self, position: Position) {
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.required = view.required.max(position);
        });
    }

    /// Publishes that nothing needs to be remembered about collections that do not exist and
    /// whose last lines are not after `completed`: nothing older is ever stated.
    pub(crate) fn forget(&self, completed: Commit) {
        let forgettable =
            |seen: &Seen| seen.snapshot.is_none() && seen.lag.is_none() && seen.last <= completed;
        if self.read(|view| view.collections.values().any(forgettable)) {
            self.view.send_modify(|view| {
                Arc::make_mut(view).collections.retain(|_, seen| !forgettable(seen));
            });
        }
    }
}

impl View {
    /// The view at the start: everything that is applied, before the log is heard.
    pub(crate) fn at_start(heard: Commit, required: Position, embedder: Arc<dyn Embedder>) -> Self {
        Self { model: IndexModel(embedder), heard, required, collections: HashMap::new() }
    }

    /// Adds a collection of which everything up to `last` is applied.
    pub(crate) fn insert(
        &mut self,
        collection: Name,
        last: Commit,
        snapshot: Option<Arc<dyn Snapshot>>,
    ) {
        self.collections.insert(collection, Seen { last, lag: None, snapshot });
    }

    /// Marks a collection as lagging: applied to no more than `lag.applied`.
    pub(crate) fn lag(&mut self, collection: &Name, lag: Lag) {
        self.seen_mut(collection).lag = Some(lag);
    }

    pub(crate) fn hear(&mut self, head: Commit, targets: &[(Name, Position)]) {
        let before = self.heard;
        for (collection, target) in targets {
            let seen = self.seen_mut(collection);
            match &mut seen.lag {
                Some(lag) => lag.target = lag.target.max(*target),
                None if *target > seen.last.position => {
                    let applied = seen.applied(before);
                    seen.lag = Some(Lag { applied, target: *target });
                }
                None => {}
            }
        }
        self.heard = before.max(head);
    }

    fn apply(
        &mut self,
        collection: &Name,
        last: Commit,
        snapshot: Option<Arc<dyn Snapshot>>,
    ) -> Option<Arc<dyn Snapshot>> {
        let seen = self.seen_mut(collection);
        seen.last = last;
        seen.lag = seen
            .lag
            .filter(|lag| lag.target > last.position)
            .map(|lag| Lag { applied: lag.applied.max(last), ..lag });
        std::mem::replace(&mut seen.snapshot, snapshot)
    }
}
