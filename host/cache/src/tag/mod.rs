//! Tags: the names of what answers read, each with the position of its last change.
//!
//! A change costs one store a tag, however many entries it invalidates, and it cannot
//! miss an entry that is inserted at the same time. An entry holds the cells of its tags
//! ([`Reads`]), so a hit looks nothing up: it loads a few numbers.
//!
//! Left out: which tags an answer has (the host records reads) and who tells of changes
//! (the log, by position). A table is one tenant's, because positions are.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use parking_lot::Mutex;
use smallvec::SmallVec;

use weir_core::Position;

#[cfg(test)]
mod tests;

/// The last position of one tag; [`EVICTED`] once the table has forgotten it.
type Cell = Arc<AtomicU64>;

/// Later than every position: whatever read the tag counts as changed, for ever.
const EVICTED: u64 = u64::MAX;

/// The name of something that answers read, like `collection:books`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a text cannot be a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It is empty.
    #[error("a tag cannot be empty")]
    Empty,
    /// It is too long.
    #[error("a tag has at most {} bytes, this one has {bytes}", Tag::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Tag {
    /// The longest tag.
    pub const MAX_BYTES: usize = 1024;

    /// A tag of this name.
    ///
    /// # Errors
    ///
    /// When the name is empty or longer than [`Tag::MAX_BYTES`].
    pub fn new(name: &str) -> Result<Self, TagError> {
        match name.len() {
            0 => Err(TagError::Empty),
            bytes if bytes > Self::MAX_BYTES => Err(TagError::TooLong { bytes }),
            _ => Ok(Self(name.into())),
        }
    }

    /// The tag of something of the host's own: its kind, then its names. Names of the host are
    /// short, and only the last of them may hold a colon.
    pub(crate) fn of<N: Borrow<str>>(kind: &str, names: &[N]) -> Self {
        Self(format!("{kind}:{}", names.join(":")).into())
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

/// What an answer read, as cells that it shares with the table.
#[derive(Clone, Debug, Default)]
pub struct Reads(SmallVec<[Cell; 2]>);

impl Reads {
    /// Has anything that was read changed after this position? Without reads: never.
    #[must_use]
    pub fn changed_after(&self, as_of: Position) -> bool {
        self.0.iter().any(|cell| cell.load(Relaxed) > as_of.0)
    }

    /// How many tags were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing that can change was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The last positions of a tenant's tags, up to a capacity.
///
/// Three numbers tell what a table knows:
/// - a tag's cell: the position of its last change;
/// - [`floor`](Self::floor): a tag without a cell did not change after it;
/// - [`latest`](Self::latest): every change up to it is in the cells, or below the floor.
///
/// Everything that writes does so under one lock, and publishes `latest` last, so a
/// reader that loads `latest` first and the cells afterwards, without the lock, sees every
/// change up to it.
#[derive(Debug)]
pub struct TagTable {
    capacity: usize,
    floor: AtomicU64,
    latest: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cells: HashMap<Tag, Cell>,
    /// Positions recorded beyond a gap: larger than `latest` + 1.
    beyond_gap: BTreeSet<u64>,
}

impl TagTable {
    /// How many positions may be recorded beyond one that is missing before the table
    /// stops waiting for it.
    pub const MAX_BEYOND_GAP: usize = 1024;

    /// An empty table that knows of no change up to `start`, which is therefore its floor.
    /// A good capacity is above the number of different tags that the entries of a full
    /// memory tier read: evicting a tag invalidates the entries that read it.
    #[must_use]
    pub fn new(capacity: usize, start: Position) -> Self {
        Self {
            capacity: capacity.max(1),
            floor: AtomicU64::new(start.0),
            latest: AtomicU64::new(start.0),
            inner: Mutex::default(),
        }
    }

    /// Records the change at this position, and what it touched.
    ///
    /// Every position after the start is to be recorded once, one that touched no tag
    /// too, but in any order and from any thread: [`latest`](Self::latest) only goes on
    /// to the position before the first one that is missing. After
    /// [`MAX_BEYOND_GAP`](Self::MAX_BEYOND_GAP) positions beyond a gap, what is missing
    /// counts as a change of everything, as with [`raise_floor`](Self::raise_floor).
    /// Recording a position again is harmless.
    pub fn record(&self, tags: &[Tag], at: Position) {
        let mut inner = self.inner.lock();
        for tag in tags {
            if let Some(cell) = inner.cells.get(tag) {
                cell.fetch_max(at.0, Relaxed);
            } else {
                let last_position = at.0.max(self.floor.load(Relaxed));
                self.add_cell(&mut inner, tag, last_position);
            }
        }
        if at.0 > self.latest.load(Relaxed) {
            inner.beyond_gap.insert(at.0);
            if inner.beyond_gap.len() > Self::MAX_BEYOND_GAP {
                self.jump_gap(&inner);
            }
            self.advance(&mut inner);
        }
    }

    /// Everything up to this position may have changed: entries made as of an earlier one
    /// are no longer valid, whatever they read. It is how all is purged, and how a reader
    /// of the log that has lost a part of it goes on.
    pub fn raise_floor(&self, to: Position) {
        let mut inner = self.inner.lock();
        self.floor.fetch_max(to.0, Relaxed);
        if to.0 > self.latest.load(Relaxed) {
            self.latest.store(to.0, Release);
        }
        self.advance(&mut inner);
    }

    /// The last position up to which every change is in the table.
    #[must_use]
    pub fn latest(&self) -> Position {
        Position(self.latest.load(Acquire))
    }

    /// Entries made as of an earlier position are misses.
    #[must_use]
    pub fn floor(&self) -> Position {
        Position(self.floor.load(Acquire))
    }

    /// The cells of these tags, for an entry to hold. A tag without one gets one, that
    /// says: it may have changed as late as the floor.
    #[must_use]
    pub fn resolve(&self, tags: &[Tag]) -> Reads {
        if tags.is_empty() {
            return Reads::default();
        }
        let mut inner = self.inner.lock();
        let cell_of = |tag| match inner.cells.get(tag) {
            Some(cell) => cell.clone(),
            None => {
                let floor = self.floor.load(Relaxed);
                self.add_cell(&mut inner, tag, floor)
            }
        };
        Reads(tags.iter().map(cell_of).collect())
    }

    /// How many tags have a cell.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.lock().cells.len()
    }

    /// Whether no tag has a cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add_cell(&self, inner: &mut Inner, tag: &Tag, position: u64) -> Cell {
        if inner.cells.len() >= self.capacity {
            self.evict(inner);
        }
        let cell = Cell::new(AtomicU64::new(position));
        inner.cells.insert(tag.clone(), cell.clone());
        cell
    }

    /// Evicts a sixteenth of the cells at once, so that the search for them is paid once
    /// for as many new tags: those changed longest ago and, of those alike, the ones that
    /// no entry holds.
    fn evict(&self, inner: &mut Inner) {
        let age = |cell: &Cell| (cell.load(Relaxed), Arc::strong_count(cell) > 1);
        let mut ages: Vec<_> = inner.cells.values().map(age).collect();
        let surplus = ages.len() + 1 - self.capacity;
        let count = surplus.max(self.capacity / 16);
        let (_, &mut youngest_evicted, _) = ages.select_nth_unstable(count - 1);

        self.floor.fetch_max(youngest_evicted.0, Relaxed);
        let mut left = count;
        inner.cells.retain(|_, cell| {
            // Entries let go of cells meanwhile, which only makes more of them match.
            let evicted = left > 0 && age(cell) <= youngest_evicted;
            if evicted {
                left -= 1;
                cell.store(EVICTED, Relaxed);
            }
            !evicted
        });
    }

    /// Stops waiting for the positions between `latest` and the next one recorded.
    fn jump_gap(&self, inner: &Inner) {
        if let Some(next) = inner.beyond_gap.first() {
            let missing = next - 1;
            self.floor.fetch_max(missing, Relaxed);
            self.latest.fetch_max(missing, Release);
        }
    }

    /// Takes `latest` over the positions that are in without a gap.
    fn advance(&self, inner: &mut Inner) {
        let before = self.latest.load(Relaxed);
        let mut latest = before;
        while let Some(&next) = inner.beyond_gap.first() {
            if next > latest + 1 {
                break;
            }
            latest = latest.max(next);
            inner.beyond_gap.pop_first();
        }
        if latest > before {
            self.latest.store(latest, Release);
        }
    }
}
