//! Patterns of names, which make up the scope of a grant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::Name;

/// A name, or a prefix of names followed by `*`: `handbook`, `notes-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exactly(Name),
    /// Empty for `*`.
    StartsWith(String),
}

/// A text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a pattern: write a name, or the beginning of a name followed by one '*', such \
     as 'handbook', 'notes-*' or '*'"
)]
pub struct PatternError(String);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let kind = match text.strip_suffix('*') {
            Some("") => Some(Kind::StartsWith(String::new())),
            // Every valid prefix of a name is a valid name.
            Some(start) => Name::new(start).is_ok().then(|| Kind::StartsWith(start.to_owned())),
            None => Name::new(text).ok().map(Kind::Exactly),
        };
        kind.map(Self).ok_or_else(|| PatternError(text.to_owned()))
    }
}

impl Pattern {
    /// Whether the pattern matches `name`.
    #[must_use]
    pub fn matches(&self, name: &Name) -> bool {
        match &self.0 {
            Kind::Exactly(exactly) => exactly == name,
            Kind::StartsWith(start) => name.as_str().starts_with(start),
        }
    }

    /// The only name that the pattern matches, if there is one.
    #[must_use]
    pub fn only(&self) -> Option<&Name> {
        match &self.0 {
            Kind::Exactly(name) => Some(name),
            Kind::StartsWith(_) => None,
        }
    }

    /// Whether the pattern matches every name that `other` matches. A name never covers a prefix.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Exactly(_), Kind::StartsWith(_)) => false,
            (_, Kind::Exactly(name)) => self.matches(name),
            (Kind::StartsWith(start), Kind::StartsWith(longer)) => longer.starts_with(start),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exactly(name) => name.fmt(f),
            Kind::StartsWith(start) => write!(f, "{start}*"),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// A scope: the names that match any of its patterns. An empty scope matches nothing. Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Arc<[Pattern]>);

impl Default for Scope {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Scope {
    /// The scope that these patterns make up.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns.into())
    }

    /// The scope of all names: `["*"]`.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::new([Pattern(Kind::StartsWith(String::new()))]))
    }

    /// Whether the scope covers `name`.
    #[must_use]
    pub fn covers(&self, name: &Name) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// The patterns that no single pattern of `allowed` covers: without any, `allowed` covers all that
    /// this scope does. Several patterns together are not taken for one that is wider.
    pub fn exceeding<'a>(&'a self, allowed: &'a Self) -> impl Iterator<Item = &'a Pattern> {
        let is_covered = |asked: &Pattern| allowed.0.iter().any(|pattern| pattern.covers(asked));
        self.0.iter().filter(move |asked| !is_covered(asked))
    }

    /// The patterns that make it up.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Whether the scope covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_matches_a_name_or_a_prefix() {
        for (pattern, name, covered) in [
            ("handbook", "handbook", true),
            ("handbook", "handbook-2", false),
            ("handbook", "hand", false),
            ("notes-*", "notes-", true),
            ("notes-*", "notes-2026", true),
            ("notes-*", "notes", false),
            ("notes-*", "my-notes-1", false),
            ("*", "anything", true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&Name::new(name).unwrap()), covered, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_covers_what_matches_no_more() {
        for (pattern, other, covered) in [
            ("handbook", "handbook", true),
            ("handbook", "handbook-2", false),
            ("handbook", "handbook*", false),
            ("notes-*", "notes-2026", true),
            ("notes-*", "notes-2*", true),
            ("notes-*", "notes-*", true),
            ("notes-*", "notes*", false),
            ("notes-*", "notes", false),
            ("*", "notes*", true),
            ("*", "*", true),
            ("a*", "*", false),
        ] {
            let [pattern, other]: [Pattern; 2] = [pattern, other].map(|text| text.parse().unwrap());
            assert_eq!(pattern.covers(&other), covered, "{pattern} {other}");
        }
    }

    /// Few letters, so that patterns often overlap.
    fn any_scope() -> impl Strategy<Value = Scope> {
        let pattern = "[ab]{1,3}|[ab]{0,2}\\*".prop_map(|text| text.parse().unwrap());
        prop::collection::vec(pattern, 0..4).prop_map(Scope::new)
    }

    proptest! {
        #[test]
        fn what_exceeds_nothing_covers_nothing_else(
            asked in any_scope(),
            allowed in any_scope(),
            name in "[ab]{1,4}",
        ) {
            let (name, all) = (Name::new(&name).unwrap(), Scope::all());
            if asked.exceeding(&allowed).next().is_none() && asked.covers(&name) {
                prop_assert!(allowed.covers(&name), "{asked:?} {allowed:?}");
            }
            prop_assert_eq!(asked.exceeding(&asked).next(), None);
            prop_assert_eq!(asked.exceeding(&all).next(), None);
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["", "**", "a*b", "*a", "A*", "a b", "-*", "a**", "ä*"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("'notes-*'"), "{error}");
        }
    }

    #[test]
    fn an_empty_scope_covers_nothing() {
        let name = Name::new("a").unwrap();
        assert!(!Scope::default().covers(&name));
        assert!(Scope::all().covers(&name));
    }
}
