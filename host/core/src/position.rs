//! The order of all changes: the truth's change number.

use std::fmt;

/// The number of a change in a tenant's SQL store, the truth. Positions are taken from a
/// counter row that stays locked until its transaction commits, so a larger position
/// was committed later. Zero is before the first change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first change.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
