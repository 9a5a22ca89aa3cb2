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

/// The last position of a tag, or [`EVICTED`] when it is no longer in the table.
type Cell = Arc<AtomicU64>;

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

    /// The tag of something that the host names: its kind, then its names. The names are short,
    /// and only the last of them can contain a colon.
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

/// What an entry depends on, as cells that it shares with the table.
#[derive(Clone, Debug, Default)]
pub struct Reads(SmallVec<[Cell; 2]>);

impl Reads {
    /// Whether anything that was read has changed after this position. Without reads, nothing has.
    #[must_use]
    pub fn changed_after(&self, as_of: Position) -> bool {
        self.0.iter().any(|cell| cell.load(Relaxed) > as_of.0)
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

/// The last positions of a tenant's tags, up to a capacity.
///
/// Three numbers describe what a table knows:
/// - the cell of a tag: the position of its last change;
/// - [`floor`](Self::floor): a tag without a cell has not changed after it;
/// - [`latest`](Self::latest): every change up to it is in the cells, or not above the floor.
///
/// Writers hold one lock and publish `latest` last. So a reader that loads `latest` first and
/// the cells afterwards sees every change up to it, without taking the lock.
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
    /// Positions that were recorded after a gap: larger than `latest` + 1.
    beyond_gap: BTreeSet<u64>,
}

impl TagTable {
    /// How many positions may be recorded after a missing one before the table stops waiting for
    /// it.
    pub const MAX_BEYOND_GAP: usize = 1024;

    /// An empty table that knows of no change up to `start`, which is therefore its floor.
    /// Evicting a tag invalidates the entries that read it, so `capacity` should be larger than
    /// the number of different tags that the entries of a full memory tier read.
    #[must_use]
    pub fn new(capacity: usize, start: Position) -> Self {
        Self {
            capacity: capacity.max(1),
            floor: AtomicU64::new(start.0),
            latest: AtomicU64::new(start.0),
            inner: Mutex::default(),
        }
    }

    /// Records the change at this position and the tags that it moves.
    ///
    /// Record every position after the start, even one that moves no tag. The order and the
    /// thread do not matter: [`latest`](Self::latest) advances only to the position before the
    /// first missing one. After [`MAX_BEYOND_GAP`](Self::MAX_BEYOND_GAP) positions behind a gap,
    /// the missing ones count as a change of everything, as with
    /// [`raise_floor`](Self::raise_floor). Recording a position twice is harmless.
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

    /// Declares that everything up to this position may have changed: entries as of an earlier one
    /// are no longer valid, whatever they read. This purges everything, and is how a reader that
    /// has lost a part of the log continues.
    pub fn raise_floor(&self, to: Position) {
        let mut inner = self.inner.lock();
        self.floor.fetch_max(to.0, Relaxed);
        if to.0 > self.latest.load(Relaxed) {
            self.latest.store(to.0, Release);
        }
        self.advance(&mut inner);
    }

    /// The position up to which the table has every change.
    #[must_use]
    pub fn latest(&self) -> Position {
        Position(self.latest.load(Acquire))
    }

    /// Entries as of an earlier position are misses.
    #[must_use]
    pub fn floor(&self) -> Position {
        Position(self.floor.load(Acquire))
    }

    /// The cells of these tags, for an entry to hold. A tag without a cell gets one with the
    /// position of the floor, because it may have changed as late as that.
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

    /// The number of tags that have a cell.
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

    /// Evicts a sixteenth of the cells at once, so that one scan makes room for as many new
    /// tags. Cells with the oldest positions go first and, among equals, those that no entry holds.
    fn evict(&self, inner: &mut Inner) {
        let age = |cell: &Cell| (cell.load(Relaxed), Arc::strong_count(cell) > 1);
        let mut ages: Vec<_> = inner.cells.values().map(age).collect();
        let surplus = ages.len() + 1 - self.capacity;
        let count = surplus.max(self.capacity / 16);
        let (_, &mut youngest_evicted, _) = ages.select_nth_unstable(count - 1);

        self.floor.fetch_max(youngest_evicted.0, Relaxed);
        let mut left = count;
        inner.cells.retain(|_, cell| {
            // Entries may drop cells in the meantime, which only makes more cells match.
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

    /// Advances `latest` over the positions that follow it without a gap.
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
