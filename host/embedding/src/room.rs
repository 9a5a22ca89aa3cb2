//! How many texts may wait in a lane, and how many of them one caller may have there.
//!
//! A caller may have as many texts as the lane has room for still. So one caller alone fills half
//! of the lane, several share it, and another one always finds room. A caller that has nothing
//! there may use all of the free room, so that a call that is larger than half of it is possible.

use std::collections::HashMap;
use std::sync::Arc;

/// The room of a lane, counted in texts.
pub(super) struct Room {
    max: usize,
    used: usize,
    /// Callers that use some.
    used_by: HashMap<Arc<str>, usize>,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        Self { max, used: 0, used_by: HashMap::new() }
    }

    /// How many more texts the caller may have.
    pub(super) fn open_to(&self, caller: &str) -> usize {
        let free = self.max.saturating_sub(self.used);
        free.saturating_sub(self.used_by.get(caller).copied().unwrap_or_default())
    }

    /// Charges the caller for texts.
    pub(super) fn take(&mut self, caller: &Arc<str>, texts: usize) {
        self.used += texts;
        *self.used_by.entry(Arc::clone(caller)).or_default() += texts;
    }

    /// Gives the room of so many texts of the caller back.
    pub(super) fn give_back(&mut self, caller: &Arc<str>, texts: usize) {
        self.used = self.used.saturating_sub(texts);
        if let Some(used) = self.used_by.get_mut(caller) {
            *used = used.saturating_sub(texts);
            if *used == 0 {
                self.used_by.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_at_most_half_and_another_always_finds_room() {
        let [a, b, c]: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        let mut room = Room::new(100);
        // What one has nothing of is open to it as a whole.
        assert_eq!(room.open_to(&a), 100);
        for _ in 0..50 {
            assert!(room.open_to(&a) >= 1);
            room.take(&a, 1);
        }
        assert_eq!((room.open_to(&a), room.open_to(&b)), (0, 50));
        room.take(&b, 20);
        assert_eq!((room.open_to(&a), room.open_to(&b), room.open_to(&c)), (0, 10, 30));
        room.take(&c, 30);
        assert_eq!((room.open_to(&a), room.open_to(&b), room.open_to(&c)), (0, 0, 0));
        for _ in 0..30 {
            room.give_back(&a, 1);
        }
        assert_eq!((room.open_to(&a), room.open_to(&b), room.open_to(&c)), (10, 10, 0));
        for (caller, texts) in [(&a, 20), (&b, 20), (&c, 30)] {
            room.give_back(caller, texts);
        }
        assert_eq!((room.open_to(&a), room.used_by.len()), (100, 0));
    }
}
