//! How many entries somebody has in memory, and how large they are, where a tier is for several.
//!
//! An entry is counted for as long as its [`Held`] exists, so also while an answer that has been evicted is
//! still being sent, or waits to be freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What somebody has in memory.
#[derive(Debug, Default)]
pub struct Holding {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// One entry of a [`Holding`]. When it is dropped, the entry is no longer counted.
#[derive(Debug)]
pub struct Held {
    of: Arc<Holding>,
    bytes: u32,
}

impl Holding {
    /// How many entries there are, and the memory that they take, in bytes.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.entries.load(Relaxed), self.bytes.load(Relaxed))
    }
}

impl Held {
    /// Counts an entry that takes so many bytes.
    #[must_use]
    pub fn new(of: &Arc<Holding>, bytes: u32) -> Self {
        of.entries.fetch_add(1, Relaxed);
        of.bytes.fetch_add(bytes.into(), Relaxed);
        Self { of: Arc::clone(of), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.entries.fetch_sub(1, Relaxed);
        self.of.bytes.fetch_sub(self.bytes.into(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_counted_any_more() {
        let holding = Arc::new(Holding::default());
        let (one, other) = (Held::new(&holding, 5), Held::new(&holding, 7));
        assert_eq!(holding.held(), (2, 12));
        drop(one);
        assert_eq!(holding.held(), (1, 7));
        drop(other);
        assert_eq!(holding.held(), (0, 0));
    }
}
