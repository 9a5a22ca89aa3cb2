//! What an answer was made from, by name: the read set.
//!
//! A read set is recorded while a pipeline runs, resolved to the cells of its
//! [tags](crate::tag) for the memory tier, and encoded by name for a tier that other processes
//! share. Out of scope: who records, and what invalidates.

use std::collections::BTreeSet;

use weir_core::name::{DocumentId, Name};

use crate::tag::Tag;

/// One thing that an answer can be made from, found or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// A collection as a whole: a search of it, whatever it found.
    Collection(Name),
    /// One document of a collection.
    Document(Name, DocumentId),
}

impl Read {
    /// The tag that a change of it moves.
    #[must_use]
    pub fn tag(&self) -> Tag {
        match self {
            Self::Collection(name) => Tag::of("collection", &[name.as_str()]),
            Self::Document(name, id) => Tag::of("document", &[name.as_str(), id.as_str()]),
        }
    }
}

/// Everything that an answer was made from, each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet(BTreeSet<Read>);

impl ReadSet {
    /// Adds a read.
    pub fn insert(&mut self, read: Read) {
        self.0.insert(read);
    }

    /// Whether it was read.
    #[must_use]
    pub fn contains(&self, read: &Read) -> bool {
        self.0.contains(read)
    }

    /// How many things were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was read that can change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Read> {
        self.0.iter()
    }

    /// The tags of all of them.
    #[must_use]
    pub fn tags(&self) -> Vec<Tag> {
        self.0.iter().map(Read::tag).collect()
    }
}

impl FromIterator<Read> for ReadSet {
    fn from_iter<I: IntoIterator<Item = Read>>(reads: I) -> Self {
        Self(reads.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn each_thing_has_a_tag_of_its_own() {
        let name = |text: &str| Name::new(text).unwrap();
        let document =
            |collection, id| Read::Document(name(collection), DocumentId::new(id).unwrap());
        let reads: ReadSet = [
            Read::Collection(name("a")),
            Read::Collection(name("a.b")),
            document("a", "b"),
            document("a", "b/c"),
            document("a.b", "c"),
            document("a", "b"),
        ]
        .into_iter()
        .collect();
        let tags: BTreeSet<_> = reads.tags().into_iter().collect();
        assert_eq!((reads.len(), tags.len()), (5, 5));
        assert_eq!(Read::Collection(name("a")).tag().as_str(), "collection:a");
        assert_eq!(document("a", "b:c").tag().as_str(), "document:a:b:c");
    }
}
