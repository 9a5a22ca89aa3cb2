//! The headers `Weir-Position` and `Weir-Positions`.

use std::collections::BTreeMap;

use crate::harness::Answer;

/// A position with its chain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) at: u64,
    pub(super) chain: u32,
}

impl Position {
    /// Reads `123;chain=1a2b3c4d`.
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(';').map(str::trim);
        let at = parts.next().and_then(|number| number.parse().ok());
        let at = at.ok_or_else(|| format!("'{text}' does not begin with a number"))?;
        Ok(Self { at, chain: chain(text, parts)? })
    }

    /// What a request demands with `Weir-Min-Position`.
    pub(super) fn demand(self) -> String {
        format!("{};chain={:08x}", self.at, self.chain)
    }
}

/// The parameter `chain`, 8 hexadecimal digits.
fn chain<'a>(text: &str, mut parameters: impl Iterator<Item = &'a str>) -> Result<u32, String> {
    let value = parameters.find_map(|parameter| parameter.strip_prefix("chain="));
    let value = value.ok_or_else(|| format!("'{text}' has no chain value"))?;
    let valid = value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = valid.then(|| u32::from_str_radix(value, 16).ok()).flatten();
    value.ok_or_else(|| format!("the chain value of '{text}' is not 8 hexadecimal digits"))
}

/// What an answer states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    /// Nothing: some errors.
    Nothing,
    /// One position for everything.
    One(Position),
    /// A position for each collection: a split answer.
    Each(BTreeMap<String, Position>),
}

impl Stated {
    pub(super) fn by(answer: &Answer) -> Result<Self, String> {
        match (answer.header("weir-position"), answer.header("weir-positions")) {
            ("", "") => Ok(Self::Nothing),
            (one, "") => Position::parse(one).map(Self::One),
            ("", each) => each.split(',').map(member).collect::<Result<_, _>>().map(Self::Each),
            (one, each) => Err(format!("both a position, '{one}', and positions, '{each}'")),
        }
    }

    /// The position of a collection's part.
    pub(super) fn of(&self, collection: &str) -> Option<Position> {
        match self {
            Self::Nothing => None,
            Self::One(position) => Some(*position),
            Self::Each(positions) => positions.get(collection).copied(),
        }
    }

    pub(super) fn is_split(&self) -> bool {
        matches!(self, Self::Each(_))
    }
}

/// Reads `"name";p=123;chain=1a2b3c4d`.
fn member(text: &str) -> Result<(String, Position), String> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().and_then(|name| name.strip_prefix('"')?.strip_suffix('"'));
    let name = name.ok_or_else(|| format!("'{text}' does not begin with a quoted name"))?;
    let at = parts.clone().find_map(|parameter| parameter.strip_prefix("p=")?.parse().ok());
    let at = at.ok_or_else(|| format!("'{text}' has no position"))?;
    Ok((name.to_owned(), Position { at, chain: chain(text, parts)? }))
}

#[test]
fn positions_are_read() {
    let position = |at, chain| Position { at, chain };
    assert_eq!(Position::parse("12;chain=0000abcd"), Ok(position(12, 0xabcd)));
    assert_eq!(Position::parse("12; chain=0000ABCD").map(Position::demand).unwrap(), {
        "12;chain=0000abcd"
    });
    for wrong in ["", "x;chain=00000000", "12", "12;chain=abcd", "12;chain=+0000abc", "-1;chain"] {
        Position::parse(wrong).unwrap_err();
    }
    assert_eq!(member(r#" "a.b";p=100;chain=00000001"#), Ok(("a.b".to_owned(), position(100, 1))));
    for wrong in ["a;p=1;chain=00000001", r#""a";chain=00000001"#, r#""a";p=1"#] {
        member(wrong).unwrap_err();
    }
}
