//! Which tags the candidate adds to answers that the deployed policy does not, and which it leaves out.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_cache::tag::Tag;

/// How many tags of each kind are told apart.
const MAX_TAGS: usize = 256;
/// How many of them are shown.
const SHOWN_TAGS: usize = 20;

/// Tags by how many answers had them.
#[derive(Default)]
struct Counted {
    by_tag: BTreeMap<Tag, u64>,
    others: u64,
}

/// The tags that differ.
#[derive(Default)]
pub(super) struct TagDifference {
    compared: u64,
    added: Counted,
    missing: Counted,
}

/// How the tags differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tags {
    /// The answers whose tags were compared: both policies would have stored them.
    pub compared: u64,
    /// The most frequent tags that only the candidate adds, and to how many answers.
    pub added: Vec<(String, u64)>,
    /// Tags that only it adds, and that are not told apart: how often.
    pub added_others: u64,
    /// The most frequent tags that only the deployed policy adds, and to how many answers.
    pub missing: Vec<(String, u64)>,
    /// Tags that only that adds, and that are not told apart: how often.
    pub missing_others: u64,
}

impl TagDifference {
    /// Compares the tags of one answer.
    pub(super) fn note(&mut self, deployed: &[Tag], candidate: &[Tag]) {
        self.compared += 1;
        candidate.iter().filter(|tag| !deployed.contains(tag)).for_each(|tag| self.added.note(tag));
        deployed
            .iter()
            .filter(|tag| !candidate.contains(tag))
            .for_each(|tag| self.missing.note(tag));
    }

    pub(super) fn tags(&self) -> Tags {
        let (added, added_others) = self.added.shown();
        let (missing, missing_others) = self.missing.shown();
        Tags { compared: self.compared, added, added_others, missing, missing_others }
    }
}

impl Counted {
    fn note(&mut self, tag: &Tag) {
        let is_full = self.by_tag.len() >= MAX_TAGS;
        match self.by_tag.get_mut(tag) {
            Some(count) => *count += 1,
            None if is_full => self.others += 1,
            None => drop(self.by_tag.insert(tag.clone(), 1)),
        }
    }

    fn shown(&self) -> (Vec<(String, u64)>, u64) {
        let mut all: Vec<_> = self.by_tag.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let rest = all.split_off(all.len().min(SHOWN_TAGS));
        let others = rest.iter().map(|(_, count)| **count).sum::<u64>() + self.others;
        (all.iter().map(|(tag, count)| (tag.to_string(), **count)).collect(), others)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag::new(name).unwrap()).collect()
    }

    #[test]
    fn tags_that_are_added_and_missing() {
        let mut difference = TagDifference::default();
        difference.note(&tags(&["a", "b"]), &tags(&["b", "c"]));
        difference.note(&tags(&["b"]), &tags(&["b", "c", "d"]));
        let expected = Tags {
            compared: 2,
            added: vec![("c".to_owned(), 2), ("d".to_owned(), 1)],
            missing: vec![("a".to_owned(), 1)],
            ..Tags::default()
        };
        assert_eq!(difference.tags(), expected);
    }

    #[test]
    fn they_are_bounded() {
        let mut difference = TagDifference::default();
        for number in 0..2 * MAX_TAGS {
            difference.note(&[], &tags(&[&number.to_string()]));
        }
        let shown = difference.tags();
        assert_eq!(difference.added.by_tag.len(), MAX_TAGS);
        assert_eq!(shown.added.len(), SHOWN_TAGS);
        assert_eq!(shown.added_others as usize, 2 * MAX_TAGS - SHOWN_TAGS);
    }
}
