//! What an answer was made from, by name: the read set.
//!
//! The host records a [`ReadSet`] while a pipeline runs. An entry keeps it by name in its
//! [`Dependencies`], next to the cells that its [tags](crate::tag) resolve to: the cells make a
//! hit cheap, and the names are what leaves the process.
//!
//! Out of scope: who records reads, and what changes them.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use thiserror::Error;
use weir_core::name::{DocumentId, Name};

use crate::tag::Tag;

/// What an allocation of shared text takes in addition to the text: two counters.
const SHARED_BYTES: usize = 2 * size_of::<usize>();

/// One thing that an answer can be made from. Things that do not exist also count as read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// A whole collection: a search of it, whatever it found.
    Collection(Name),
    /// A document of a collection. Whoever reads one also reads the collection's lifetime.
    Document(Name, DocumentId),
    /// Whether a collection exists: only its creation and its drop change it.
    Lifetime(Name),
    /// A table of a granted database.
    Table(Name, Text),
    /// A key of a granted bucket.
    BucketKey(Name, Text),
    /// A granted HTTP origin. The host cannot see it change.
    Origin(Name),
    /// A cached fragment.
    Fragment(FragmentKey),
    /// A clock. The host cannot see it change.
    Clock,
}

/// The name of a table, a key of a bucket, or a part of a fragment's key: at most
/// [`MAX_BYTES`](Text::MAX_BYTES) of UTF-8. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

/// The key of a fragment: 1 to [`MAX_PARTS`](FragmentKey::MAX_PARTS) parts, together at most
/// [`MAX_BYTES`](FragmentKey::MAX_BYTES) of UTF-8. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey(Arc<[Text]>);

/// Why a read cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The name of a table or a key of a bucket is too long.
    #[error("the name has {bytes} bytes; at most {} are allowed", Text::MAX_BYTES)]
    TextTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A fragment's key has no parts, or too many.
    #[error("a fragment's key has 1 to {} parts; this one has {parts}", FragmentKey::MAX_PARTS)]
    FragmentParts {
        /// How many it has.
        parts: usize,
    },
    /// A fragment's key is too long.
    #[error("a fragment's key has at most {} bytes; this one has {bytes}", FragmentKey::MAX_BYTES)]
    FragmentTooLong {
        /// The length of its parts together.
        bytes: usize,
    },
}

impl Text {
    /// The length of the longest text, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Checks the length of `text`.
    ///
    /// # Errors
    ///
    /// `text` is longer than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(text: &str) -> Result<Self, ReadError> {
        match text.len() {
            bytes if bytes > Self::MAX_BYTES => Err(ReadError::TextTooLong { bytes }),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FragmentKey {
    /// The largest number of parts.
    pub const MAX_PARTS: usize = 8;

    /// The length of the longest key, all parts together, in bytes. Its tag, in which every
    /// character can need an escape, still fits into [`Tag::MAX_BYTES`].
    pub const MAX_BYTES: usize = 500;

    /// Checks the number and length of `parts`.
    ///
    /// # Errors
    ///
    /// There are no parts or more than [`MAX_PARTS`](Self::MAX_PARTS), or they are longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(parts: &[&str]) -> Result<Self, ReadError> {
        if !(1..=Self::MAX_PARTS).contains(&parts.len()) {
            return Err(ReadError::FragmentParts { parts: parts.len() });
        }
        match parts.iter().map(|part| part.len()).sum() {
            bytes if bytes > Self::MAX_BYTES => Err(ReadError::FragmentTooLong { bytes }),
            _ => Ok(Self(parts.iter().map(|part| Text((*part).into())).collect())),
        }
    }

    /// The parts, in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(Text::as_str)
    }
}

impl Read {
    /// The tag that moves when what was read changes.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let kind = match self {
            Self::Collection(_) => "collection",
            Self::Document(..) => "document",
            Self::Lifetime(_) => "lifetime",
            Self::Table(..) => "table",
            Self::BucketKey(..) => "bucket",
            Self::Origin(_) => "origin",
            Self::Fragment(key) => {
                // Any part may contain a colon.
                let parts: Vec<_> = key.parts().map(escaped).collect();
                return Tag::of("fragment", &parts);
            }
            Self::Clock => "clock",
        };
        Tag::of(kind, &self.texts())
    }

    /// The names that it consists of, in the order of its fields.
    pub(crate) fn texts(&self) -> SmallVec<[&str; 2]> {
        match self {
            Self::Collection(name) | Self::Lifetime(name) | Self::Origin(name) => {
                smallvec![name.as_str()]
            }
            Self::Document(collection, id) => smallvec![collection.as_str(), id.as_str()],
            Self::Table(owner, text) | Self::BucketKey(owner, text) => {
                smallvec![owner.as_str(), text.as_str()]
            }
            Self::Fragment(key) => key.parts().collect(),
            Self::Clock => smallvec![],
        }
    }
}

fn escaped(part: &str) -> Cow<'_, str> {
    if part.contains([':', '\\']) {
        part.replace('\\', "\\\\").replace(':', "\\:").into()
    } else {
        part.into()
    }
}

/// Everything that an answer was made from, each thing once.
///
/// A set holds at most [`MAX_READS`](Self::MAX_READS) and
/// [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES). One more read makes it incomplete for good: nobody
/// can tell when an answer with an incomplete read set changes, so such an answer is
/// neither stored nor shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Sorted. A vector, because most sets have one or two reads and live as long as an entry.
    reads: Vec<Read>,
    text_bytes: usize,
    texts: usize,
    incomplete: bool,
}

impl ReadSet {
    /// The largest number of reads.
    pub const MAX_READS: usize = 1024;

    /// The length of all names together, in bytes.
    pub const MAX_TEXT_BYTES: usize = 64 << 10;

    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { reads: Vec::new(), text_bytes: 0, texts: 0, incomplete: false }
    }

    /// Adds a read. Returns whether the set is still [complete](Self::is_complete).
    pub fn insert(&mut self, read: Read) -> bool {
        if let Err(place) = self.reads.binary_search(&read) {
            let (added_texts, added_bytes) = {
                let texts = read.texts();
                (texts.len(), texts.iter().map(|text| text.len()).sum::<usize>())
            };
            let has_room = self.reads.len() < Self::MAX_READS
                && self.text_bytes + added_bytes <= Self::MAX_TEXT_BYTES;
            if has_room {
                self.reads.insert(place, read);
                self.texts += added_texts;
                self.text_bytes += added_bytes;
            } else {
                self.incomplete = true;
            }
        }
        self.is_complete()
    }

    /// Whether the set holds everything that was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Whether it holds this read.
    #[must_use]
    pub fn contains(&self, read: &Read) -> bool {
        self.reads.binary_search(read).is_ok()
    }

    /// The number of reads.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reads.len()
    }

    /// Whether it holds no reads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// All reads, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter()
    }

    /// The tags of all reads.
    #[must_use]
    pub fn tags(&self) -> Vec<Tag> {
        self.reads.iter().map(Read::tag).collect()
    }

    /// The collections of which anything was read; one can occur several times.
    pub fn collections(&self) -> impl Iterator<Item = &Name> {
        self.reads.iter().filter_map(|read| match read {
            Read::Collection(name) | Read::Lifetime(name) => Some(name),
            // Its collection's lifetime is read too.
            _ => None,
        })
    }

    fn heap_bytes(&self) -> usize {
        self.reads.capacity() * size_of::<Read>() + self.text_bytes + self.texts * SHARED_BYTES
    }
}

impl FromIterator<Read> for ReadSet {
    fn from_iter<I: IntoIterator<Item = Read>>(reads: I) -> Self {
        let mut set = Self::new();
        for read in reads {
            set.insert(read);
        }
        set
    }
}

/// Everything that can invalidate an entry, by name: what its answer was made from, and the tags
/// that its policy added. Cheap to clone; takes no memory of its own if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies(Option<Arc<Named>>);

#[derive(Debug, PartialEq, Eq)]
struct Named {
    reads: ReadSet,
    added_tags: Box<[Tag]>,
}

impl Dependencies {
    /// The dependencies of an answer that was made from `reads` and whose policy added
    /// `added_tags`.
    #[must_use]
    pub fn new(mut reads: ReadSet, added_tags: Vec<Tag>) -> Self {
        if reads.is_empty() && reads.is_complete() && added_tags.is_empty() {
            return Self::default();
        }
        reads.reads.shrink_to_fit();
        Self(Some(Arc::new(Named { reads, added_tags: added_tags.into() })))
    }

    /// What the answer was made from.
    #[must_use]
    pub fn reads(&self) -> &ReadSet {
        static NOTHING: ReadSet = ReadSet::new();
        self.0.as_ref().map_or(&NOTHING, |named| &named.reads)
    }

    /// The tags that the policy added.
    #[must_use]
    pub fn added_tags(&self) -> &[Tag] {
        self.0.as_ref().map_or(&[], |named| &named.added_tags)
    }

    /// The tags of the reads, then those that the policy added.
    #[must_use]
    pub fn tags(&self) -> Vec<Tag> {
        let mut tags = self.reads().tags();
        tags.extend_from_slice(self.added_tags());
        tags
    }

    /// The memory that they take in bytes. Names that are shared with others count in full.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |named| {
            let tag = |tag: &Tag| size_of::<Tag>() + SHARED_BYTES + tag.as_str().len();
            let tags: usize = named.added_tags.iter().map(tag).sum();
            SHARED_BYTES + size_of::<Named>() + named.reads.heap_bytes() + tags
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn text(text: &str) -> Text {
        Text::new(text).unwrap()
    }

    fn document(collection: &str, id: &str) -> Read {
        Read::Document(name(collection), DocumentId::new(id).unwrap())
    }

    fn fragment(parts: &[&str]) -> Read {
        Read::Fragment(FragmentKey::new(parts).unwrap())
    }

    #[test]
    fn each_read_has_its_own_tag() {
        let cases = [
            (Read::Collection(name("a")), "collection:a"),
            (Read::Collection(name("a.b")), "collection:a.b"),
            (document("a", "b"), "document:a:b"),
            (document("a", "b:c"), "document:a:b:c"),
            (document("a.b", "c"), "document:a.b:c"),
            (Read::Lifetime(name("a")), "lifetime:a"),
            (Read::Table(name("a"), text("b")), "table:a:b"),
            (Read::Table(name("a"), text("public.b")), "table:a:public.b"),
            (Read::BucketKey(name("a"), text("b")), "bucket:a:b"),
            (Read::BucketKey(name("a"), text("")), "bucket:a:"),
            (Read::Origin(name("a")), "origin:a"),
            (fragment(&["a"]), "fragment:a"),
            (fragment(&["a", "b"]), "fragment:a:b"),
            (fragment(&["a:b"]), r"fragment:a\:b"),
            (fragment(&[r"a\", "b"]), r"fragment:a\\:b"),
            (fragment(&["a", "", "b"]), "fragment:a::b"),
            (Read::Clock, "clock:"),
        ];
        for (read, tag) in &cases {
            assert_eq!(read.tag().as_str(), *tag);
        }
        let reads: ReadSet = cases.iter().chain(&cases).map(|(read, _)| read.clone()).collect();
        let tags: BTreeSet<_> = reads.tags().into_iter().collect();
        assert_eq!((reads.len(), tags.len()), (cases.len(), cases.len()));
        assert!(cases.iter().all(|(read, _)| reads.contains(read)));
        assert!(!reads.contains(&document("a", "other")));
    }

    #[test]
    fn names_are_bounded() {
        assert!(Text::new(&"a".repeat(512)).is_ok());
        assert_eq!(Text::new(&"a".repeat(513)), Err(ReadError::TextTooLong { bytes: 513 }));

        let part = ":".repeat(250);
        let longest = FragmentKey::new(&[&part, &part]).unwrap();
        assert!(Read::Fragment(longest).tag().as_str().len() <= Tag::MAX_BYTES);
        let too_long = Err(ReadError::FragmentTooLong { bytes: 501 });
        assert_eq!(FragmentKey::new(&[&part, &part, "a"]), too_long);
        for parts in [0, 9] {
            let refused = Err(ReadError::FragmentParts { parts });
            assert_eq!(FragmentKey::new(&vec![""; parts]), refused);
        }
        assert!(FragmentKey::new(&[""; 8]).is_ok());
    }

    #[test]
    fn a_set_that_is_full_stays_incomplete() {
        let numbered = |number: usize| Read::Collection(name(&format!("{number:04}")));
        let mut by_number: ReadSet = (0..ReadSet::MAX_READS).map(numbered).collect();
        assert!(by_number.insert(numbered(7)), "a read that it has takes no room");
        assert!(!by_number.insert(numbered(ReadSet::MAX_READS)));
        assert!(!by_number.insert(numbered(7)));
        assert_eq!(by_number.len(), ReadSet::MAX_READS);

        let long = |number: usize| document("a", &format!("{number:0511}"));
        let most = ReadSet::MAX_TEXT_BYTES / 512;
        let mut by_bytes: ReadSet = (0..most).map(long).collect();
        assert!(by_bytes.is_complete());
        assert!(!by_bytes.insert(Read::Collection(name("a"))));
        assert_eq!(by_bytes.text_bytes, ReadSet::MAX_TEXT_BYTES);
    }

    #[test]
    fn dependencies_are_weighed() {
        assert_eq!(Dependencies::new(ReadSet::new(), Vec::new()).weight_bytes(), 0);
        let of = |reads: &[Read], tags: &[&str]| {
            let tags = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
            Dependencies::new(reads.iter().cloned().collect(), tags).weight_bytes()
        };
        let one = of(&[Read::Collection(name("a"))], &[]);
        assert!(one > size_of::<Named>() + size_of::<Read>());
        let longer = of(&[Read::Collection(name("abc"))], &[]);
        let two = of(&[Read::Collection(name("a")), Read::Origin(name("b"))], &[]);
        let tagged = of(&[Read::Collection(name("a"))], &["policy:a"]);
        assert_eq!(longer - one, 2);
        assert_eq!(two - one, size_of::<Read>() + SHARED_BYTES + 1);
        assert_eq!(tagged - one, size_of::<Tag>() + SHARED_BYTES + 8);
    }
}
