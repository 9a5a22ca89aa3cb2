//! What has been invalidated by name: rules, by position.
//!
//! A rule says that no answer that it covers, and that was made before the rule's position, is true any
//! more. What covers an answer has [`Label`]s, such as its pipeline's or that of the first parts of its
//! key; a rule has one of them. A hit loads one number, unless a rule is newer than its entry: only then
//! are its labels made and looked up, so a rule costs nothing that is made after it.
//!
//! Out of scope: which labels an answer has, and where rules come from (the log, by position).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::RwLock;

use weir_core::Position;

use crate::key::{KeyBuilder, KeyPrefix};
use crate::tag::{Changed, History};

/// A name for a set of answers: a hash of what they have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label([u8; 32]);

impl Label {
    /// The label of these names, in this order.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        Self::with_parts(names, &[])
    }

    /// The label of these names and then of these parts, of which some may be absent.
    #[must_use]
    pub fn with_parts(names: &[&str], parts: &[Option<&[u8]>]) -> Self {
        let mut key = KeyBuilder::new(&KeyPrefix::new(names));
        for part in parts {
            match part {
                Some(bytes) => key.part(bytes),
                None => key.absent(),
            };
        }
        Self(*key.finish().as_bytes())
    }
}

/// The rules of a tenant.
#[derive(Debug, Default)]
pub struct Rules {
    newest: AtomicU64,
    by_label: RwLock<HashMap<Label, Rule>>,
}

#[derive(Debug)]
struct Rule {
    last: Position,
    history: History,
}

impl Rules {
    /// Notes that what has this label was invalidated. If it is known when, that is for how long it
    /// counts as out of date; otherwise nobody can tell. Rules are noted in the order of their
    /// positions, and noting one twice is harmless.
    pub fn note(&self, label: Label, changed: Changed) {
        let Changed { last, began } = changed;
        let mut rules = self.by_label.write();
        let unknown = || Rule { last, history: History::default() };
        let rule = rules.entry(label).or_insert_with(unknown);
        match began {
            Some(began) => rule.history.note(last, began, Instant::now()),
            None => rule.history.forget_up_to(last),
        }
        rule.last = rule.last.max(last);
        self.newest.fetch_max(last.0, Relaxed);
    }

    /// Notes that something was invalidated that entries know without a label.
    pub fn note_unlabelled(&self, at: Position) {
        self.newest.fetch_max(at.0, Relaxed);
    }

    /// Forgets the rules up to this position, because nothing that was made before it is valid.
    pub fn forget_up_to(&self, position: Position) {
        self.by_label.write().retain(|_, rule| rule.last > position);
    }

    /// The position of the newest rule. What was made at it or later has not been invalidated.
    #[must_use]
    pub fn newest(&self) -> Position {
        Position(self.newest.load(Relaxed))
    }

    /// Whether a rule after this position covers what has these labels.
    #[must_use]
    pub fn cover(&self, labels: &[Label], after: Position) -> bool {
        let rules = self.by_label.read();
        labels.iter().any(|label| rules.get(label).is_some_and(|rule| rule.last > after))
    }

    /// When the first rule after this position was noted that covers what has these labels, or
    /// earlier. `Ok(None)` if there is none.
    ///
    /// # Errors
    /// There is one of which it is not known.
    pub fn first_after(
        &self,
        labels: &[Label],
        after: Position,
    ) -> Result<Option<Instant>, UnknownSince> {
        let rules = self.by_label.read();
        let covering = labels.iter().filter_map(|label| rules.get(label));
        let covering = covering.filter(|rule| rule.last > after);
        let first = |rule: &Rule| rule.history.first_change_after(after).ok_or(UnknownSince);
        let instants: Result<Vec<_>, _> = covering.map(first).collect();
        Ok(instants?.into_iter().min())
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_label.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// It is not known since when something counts as out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSince;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hard(last: u64) -> Changed {
        Changed { last: Position(last), began: None }
    }

    #[test]
    fn a_rule_covers_what_has_its_label_and_was_made_before() {
        let rules = Rules::default();
        let (books, films) =
            (Label::new(&["collection", "books"]), Label::new(&["collection", "films"]));
        assert_eq!(rules.newest(), Position::ZERO);
        rules.note(books, hard(5));
        rules.note_unlabelled(Position(7));
        assert_eq!(rules.newest(), Position(7));
        for (labels, after, covered) in [
            (&[books][..], 4, true),
            (&[films, books], 4, true),
            (&[books], 5, false),
            (&[films], 4, false),
            (&[], 4, false),
        ] {
            assert_eq!(rules.cover(labels, Position(after)), covered, "{labels:?} at {after}");
        }
        rules.note(books, hard(3));
        assert!(rules.cover(&[books], Position(4)), "noted again");
        rules.forget_up_to(Position(5));
        assert!(rules.is_empty());
        assert_eq!(rules.newest(), Position(7));
    }

    #[test]
    fn it_is_known_since_when_unless_a_hard_rule_covers_it() {
        let rules = Rules::default();
        let (books, films) = (Label::new(&["books"]), Label::new(&["films"]));
        let began = Instant::now();
        let later = began + Duration::from_secs(1);
        let soft = |last, began| Changed { last: Position(last), began: Some(began) };
        let since = |labels: &[Label], after| rules.first_after(labels, Position(after));
        rules.note(books, soft(5, began));
        rules.note(books, soft(8, later));
        assert_eq!(since(&[books], 4), Ok(Some(began)), "the first counts");
        assert_eq!(since(&[books], 5), Ok(Some(later)));
        assert_eq!(since(&[books], 8), Ok(None));
        assert_eq!(since(&[films], 4), Ok(None));
        rules.note(films, hard(6));
        assert_eq!(since(&[books, films], 4), Err(UnknownSince));
        assert_eq!(since(&[books, films], 6), Ok(Some(later)));
        rules.note(books, hard(9));
        assert_eq!(since(&[books], 8), Err(UnknownSince));
    }

    #[test]
    fn labels_tell_names_and_parts_apart() {
        let labels = [
            Label::new(&["parts", "search"]),
            Label::new(&["parts", "search", ""]),
            Label::with_parts(&["parts", "search"], &[None]),
            Label::with_parts(&["parts", "search"], &[Some(b"")]),
            Label::with_parts(&["parts", "search"], &[Some(b"a"), Some(b"b")]),
            Label::with_parts(&["parts", "search"], &[Some(b"ab")]),
        ];
        for (index, label) in labels.iter().enumerate() {
            assert!(!labels[..index].contains(label), "{index}");
        }
    }
}
