//! The order of all changes: positions, and the chain values that tell histories apart.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The number of a commit in a tenant's SQL store, the truth. Positions are taken from a
/// counter row that stays locked until its transaction commits, so a larger position
/// was committed later. Zero is before the first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random value that a commit stores next to its position. Two histories that have split,
/// such as a truth and a restored copy of it, give the same position different chain values.
///
/// Written as eight hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub u32);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A text is not a chain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a chain value is eight hexadecimal digits, in lower case")]
pub struct ChainError;

impl FromStr for Chain {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 8 || !text.bytes().all(digit) {
            return Err(ChainError);
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| ChainError)
    }
}

/// A position in one history: the position of a commit, with its chain value. Within a history,
/// equal positions have equal chain values, so commits are ordered by their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    /// Its number.
    pub position: Position,
    /// Its chain value.
    pub chain: Chain,
}

impl Commit {
    /// Before the first commit.
    pub const ZERO: Self = Self { position: Position::ZERO, chain: Chain(0) };
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};chain={}", self.position, self.chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_value_has_one_spelling() {
        for (text, chain) in [
            ("00000000", Ok(Chain(0))),
            ("1a2b3c4d", Ok(Chain(0x1a2b_3c4d))),
            ("ffffffff", Ok(Chain(u32::MAX))),
            ("1A2B3C4D", Err(ChainError)),
            ("+1a2b3c4", Err(ChainError)),
            ("1a2b3c4", Err(ChainError)),
            ("1a2b3c4d5", Err(ChainError)),
            ("", Err(ChainError)),
        ] {
            assert_eq!(text.parse::<Chain>(), chain, "{text:?}");
            assert!(chain.is_err() || chain.map(|chain| chain.to_string()) == Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_commit_is_written_with_its_chain_value() {
        let commit = Commit { position: Position(123), chain: Chain(0x1a2b_3c4d) };
        assert_eq!(commit.to_string(), "123;chain=1a2b3c4d");
    }
}
