//! Tags: the names of what answers read, each with the position of its last change.
//!
//! A change costs one store per tag, however many entries it invalidates, and it cannot miss an
//! entry that is inserted at the same time. An entry holds the cells of its tags ([`Reads`]), so a
//! hit loads a few numbers and looks nothing up.
//!
//! Out of scope: which tags an answer has (the host records reads), and where changes come from
//! (the log, by position). Each tenant has its own table, because it has its own positions.

use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Instant,
};

use parking_lot::Mutex;
use smallvec::SmallVec;

use weir_core::Position;
use weir_core::name::Name;

pub(crate) use self::history::History;

mod history;
#[cfg(test)]
mod tests;

/// What the table knows of a tag.
#[derive(Debug)]
struct State {
    /// Its last position, or [`EVICTED`] when it is no longer in the table.
    last: AtomicU64,
    history: Mutex<History>,
}

type Cell = Arc<State>;

impl State {
    fn note(&self, changed: Changed, now: Instant) {
        let Changed { last, began } = changed;
        let mut history = self.history.lock();
        match began {
            Some(began) => history.note(last, began, now),
            None => history.forget_up_to(last),
        }
        self.last.fetch_max(last.0, Relaxed);
    }
}

/// Later than every position: entries that read the tag count as changed, forever.
const EVICTED: u64 = u64::MAX;

/// The name of something that answers read, such as `collection:books`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a text is not a valid tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It is empty.
    #[error("a tag cannot be empty")]
    Empty,
    /// It is too long.
    #[error("the tag has {bytes} bytes; at most {} are allowed", Tag::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Tag {
    /// The length of the longest tag, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// What the tags begin with that policies add.
    pub const OF_POLICIES: &str = "policy:";

    /// Checks the length of `name`.
    ///
    /// # Errors
    ///
    /// `name` is empty or longer than [`Tag::MAX_BYTES`].
    pub fn new(name: &str) -> Result<Self, TagError> {
        match name.len() {
            0 => Err(TagError::Empty),
            bytes if bytes > Self::MAX_BYTES => Err(TagError::TooLong { bytes }),
            _ => Ok(Self(name.into())),
        }
    }

    /// The tag that `policy` adds to an answer under this name. It differs from all that the host
    /// or another policy names.
    ///
    /// # Errors
    ///
    /// As of [`Tag::new`], with [`Tag::OF_POLICIES`] and the policy before the name.
    pub fn of_policy(policy: &Name, name: &str) -> Result<Self, TagError> {
        Self::new(&format!("{}{policy}:{name}", Self::OF_POLICIES))
    }

    /// The policy that added it. The name of a policy has no colon.
    fn policy(&self) -> Option<&str> {
        let (policy, _) = self.0.strip_prefix(Self::OF_POLICIES)?.split_once(':')?;
        Some(policy)
    }

    /// The tag of something that the host names: its kind, then its names. The names are short,
    /// and only the last of them can contain a colon.
    pub(crate) fn of<N: Borrow<str>>(kind: &str, names: &[N]) -> Self {
        Self(format!("{kind}:{}", names.join(":")).into())
    }

    /// The tag that changes whenever this one does, if it is within another: a document, or the
    /// lifetime of a collection, is within the collection.
    #[must_use]
    pub fn outer(&self) -> Option<Self> {
        let (kind, names) = self.0.split_once(':')?;
        let collection = match kind {
            "document" => names.split(':').next()?,
            "lifetime" => names,
            _ => return None,
        };
        Some(Self::of("collection", &[collection]))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an entry depends on, as cells that it shares with the table.
#[derive(Clone, Debug, Default)]
pub struct Reads(SmallVec<[Cell; 2]>);

impl Reads {
    /// Whether anything that was read has changed after this position. Without reads, nothing has.
    #[must_use]
    pub fn changed_after(&self, as_of: Position) -> bool {
        self.0.iter().any(|cell| cell.last.load(Relaxed) > as_of.0)
    }

    /// When the first change of what was read after this position was committed, or an earlier
    /// instant. `None` if nothing has changed, or it is not known for all that has.
    #[must_use]
    pub fn first_change_after(&self, as_of: Position) -> Option<Instant> {
        let changed = self.0.iter().filter(|cell| cell.last.load(Relaxed) > as_of.0);
        let first = |cell: &Cell| match cell.last.load(Relaxed) {
            EVICTED => None,
            _ => cell.history.lock().first_change_after(as_of),
        };
        let instants: Option<Vec<_>> = changed.map(first).collect();
        instants?.into_iter().min()
    }

    /// The last position at which each of what was read has changed, or may have; `None` if that was
    /// forgotten, which counts as changed.
    pub fn last_positions(&self) -> impl Iterator<Item = Option<Position>> {
        let last = self.0.iter().map(|cell| cell.last.load(Relaxed));
        last.map(|last| (last != EVICTED).then_some(Position(last)))
    }

    /// The cells of the first so many tags.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self(self.0.iter().take(count).cloned().collect())
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no cells: nothing can invalidate the entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Successive changes of something.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// The position of the last of them.
    pub last: Position,
    /// When the first of them was committed, or earlier. `None` if that is not known.
    pub began: Option<Instant>,
}

/// The last positions of a tenant's tags, up to a capacity.
///
/// Two numbers describe what a table knows of a tag:
/// - its cell: the position of its last change;
/// - [`floor`](Self::floor): a tag without a cell has not changed after it.
///
/// A tag can be *within* another, such as a document's within its collection's. Whoever records a
/// change of the inner one records the outer one too, so an inner tag without a cell has not
/// changed after the outer one. So only inner tags that an entry holds take room.
///
/// The table does not know how far it is: whoever records a change publishes that it is applied
/// afterwards. A reader that loads first what is applied and then the cells sees every change up
/// to that position, without taking the lock.
#[derive(Debug)]
pub struct TagTable {
    capacity: usize,
    floor: AtomicU64,
    cells: Mutex<HashMap<Tag, Cell>>,
}

impl TagTable {
    /// An empty table that knows of no change up to `start`, which is therefore its floor.
    /// Evicting a tag invalidates the entries that read it, so `capacity` should be larger than
    /// the number of different tags that the entries of a full memory tier read.
    #[must_use]
    pub fn new(capacity: usize, start: Position) -> Self {
        Self { capacity: capacity.max(1), floor: AtomicU64::new(start.0), cells: Mutex::default() }
    }

    /// Records that the tag changed at this position, at an instant that is not known. The order and
    /// the thread do not matter, and recording a change twice is harmless.
    pub fn record(&self, tag: &Tag, at: Position) {
        let mut cells = self.cells.lock();
        let cell = self.cell_of_change(&mut cells, tag, at);
        cell.history.lock().forget_up_to(at);
        cell.last.fetch_max(at.0, Relaxed);
    }

    /// Records that `outer` changed, and tags [within](Tag::outer) it at positions that are not later.
    pub fn record_within(
        &self,
        outer: &Tag,
        changed: Changed,
        inner: impl Iterator<Item = (Tag, Position)>,
    ) {
        let now = Instant::now();
        // First, so that a cell that is added meanwhile has its position.
        {
            let mut cells = self.cells.lock();
            self.cell_of_change(&mut cells, outer, changed.last).note(changed, now);
        }
        for (tag, last) in inner {
            if let Some(cell) = self.cells.lock().get(&tag) {
                cell.note(Changed { last, ..changed }, now);
            }
        }
    }

    /// Records that tags changed which nothing bounds the number of: they leave half of the table to
    /// others. Returns `false` if there is no room for all of them, and then not all are recorded.
    #[must_use]
    pub fn try_record(&self, tags: &[Tag], changed: Changed) -> bool {
        let now = Instant::now();
        let mut cells = self.cells.lock();
        for tag in tags {
            if cells.len() >= self.capacity / 2 && !cells.contains_key(tag) {
                return false;
            }
            self.cell_of_change(&mut cells, tag, changed.last).note(changed, now);
        }
        true
    }

    /// The cell of a tag that changes. A new one knows of no change before this one.
    fn cell_of_change(&self, cells: &mut HashMap<Tag, Cell>, tag: &Tag, at: Position) -> Cell {
        match cells.get(tag) {
            Some(cell) => Arc::clone(cell),
            None => {
                let floor = self.floor.load(Relaxed);
                let cell = self.add_cell(cells, tag, floor);
                // Making room may have raised the floor.
                cell.last.fetch_max(at.0, Relaxed);
                cell
            }
        }
    }

    /// Declares that everything up to this position may have changed: entries as of an earlier one
    /// are no longer valid, whatever they read. This purges everything, and is how a reader that
    /// has lost a part of the log continues.
    pub fn raise_floor(&self, to: Position) {
        let _cells = self.cells.lock();
        self.floor.fetch_max(to.0, Relaxed);
    }

    /// Entries as of an earlier position are misses.
    #[must_use]
    pub fn floor(&self) -> Position {
        Position(self.floor.load(Acquire))
    }

    /// The cells of these tags, for an entry to hold. A tag without a cell gets one with the last
    /// position at which it may have changed: the floor's or, if it is within another one that
    /// has changed later, that one's.
    #[must_use]
    pub fn resolve(&self, tags: &[Tag]) -> Reads {
        if tags.is_empty() {
            return Reads::default();
        }
        let mut cells = self.cells.lock();
        let cell_of = |tag: &Tag| match cells.get(tag) {
            Some(cell) => cell.clone(),
            None => {
                let last = |outer: Tag| Some(cells.get(&outer)?.last.load(Relaxed));
                let outer = tag.outer().and_then(last);
                let position = self.floor.load(Relaxed).max(outer.unwrap_or(0));
                self.add_cell(&mut cells, tag, position)
            }
        };
        Reads(tags.iter().map(cell_of).collect())
    }

    /// The cells of these tags, for somebody who is to leave the room of the table to others: a tag that has
    /// none, and is within another, counts as that one.
    #[must_use]
    pub fn resolve_coarsely(&self, tags: &[Tag]) -> Reads {
        let known: Vec<_> = {
            let cells = self.cells.lock();
            tags.iter().map(|tag| cells.contains_key(tag)).collect()
        };
        let coarse = tags.iter().zip(known).map(|(tag, is_known)| match tag.outer() {
            Some(outer) if !is_known => outer,
            _ => tag.clone(),
        });
        self.resolve(&coarse.collect::<Vec<_>>())
    }

    /// The number of tags that have a cell.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.lock().len()
    }

    /// Whether no tag has a cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add_cell(&self, cells: &mut HashMap<Tag, Cell>, tag: &Tag, position: u64) -> Cell {
        if cells.len() >= self.capacity {
            self.evict(cells);
        }
        let history = Mutex::new(History::unknown_up_to(Position(position)));
        let cell = Cell::new(State { last: AtomicU64::new(position), history });
        cells.insert(tag.clone(), cell.clone());
        cell
    }

    /// Evicts a sixteenth of the cells at once, so that one scan makes room for as many new
    /// tags. Cells with the oldest positions go first, of which those up to the floor are equal. Among
    /// equals, those of policies go first: nothing bounds how many names a policy thinks of, and
    /// they must not end answers that have none. Of those, the ones of the policy with the most go,
    /// until it has no more than the next. Within a policy and within the host's, those that no entry
    /// holds go first.
    fn evict(&self, cells: &mut HashMap<Tag, Cell>) {
        let floor = self.floor.load(Relaxed);
        let mut ages: Vec<_> = cells
            .iter()
            .map(|(tag, cell)| Age {
                position: cell.last.load(Relaxed).max(floor),
                is_of_host: tag.policy().is_none(),
                rank_in_policy: Reverse(0),
                is_held: Arc::strong_count(cell) > 1,
                tag,
            })
            .collect();
        rank_in_policies(&mut ages);
        let surplus = ages.len() + 1 - self.capacity;
        let count = surplus.max(self.capacity / 16);
        let (before, youngest, _) = ages.select_nth_unstable(count - 1);

        self.floor.fetch_max(youngest.position, Relaxed);
        let evicted: Vec<Tag> =
            before.iter().chain([&*youngest]).map(|age| age.tag.clone()).collect();
        for tag in evicted {
            if let Some(cell) = cells.remove(&tag) {
                cell.last.store(EVICTED, Relaxed);
            }
        }
    }
}

/// What decides how soon a tag is evicted: the least goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Age<'a> {
    position: u64,
    is_of_host: bool,
    /// How many tags its policy has before it. The policy with the most has the highest.
    rank_in_policy: Reverse<usize>,
    is_held: bool,
    tag: &'a Tag,
}

/// Counts the tags of each policy, beginning with those that an entry holds.
fn rank_in_policies(ages: &mut [Age<'_>]) {
    let mut counts = HashMap::<&str, usize>::new();
    for held in [true, false] {
        for age in ages.iter_mut().filter(|age| age.is_held == held) {
            if let Some(policy) = age.tag.policy() {
                let count = counts.entry(policy).or_default();
                age.rank_in_policy = Reverse(*count);
                *count += 1;
            }
        }
    }
}
