//! Entries as bytes, for tiers outside this process.
//!
//! [`Record::encode`] writes what there is to know about an answer, [`Record::decode`] reads it, and
//! [`Record::promote`] makes an entry of it with the cells of this node's tags. All numbers are in
//! little-endian order:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | [`Portable::FORMAT`] of the value |
//! | 8, 4 | `as_of`: its position and its chain value |
//! | 8 | when the answer was computed, in milliseconds since 1970 |
//! | 8 | when it was encoded, in milliseconds since 1970 |
//! | 8 | its age in milliseconds when it was encoded, by the writer's monotonic clock |
//! | 8 | how long it took to compute, in milliseconds |
//! | 42 | how long the shared tier keeps it: see [`lifetime`] |
//! | 1, 42 | whether a memory tier keeps it, and if so, for how long |
//! | 2, … | the number of reads, then each: a byte for its kind, and its names |
//! | 2, … | the number of tags that the policy added, then each |
//! | 4, … | the length of the value, then the value, then the end |
//!
//! A name or tag is a length of 2 bytes and UTF-8. The names of a fragment's key follow a byte
//! with their number.
//!
//! Decoding accepts any bytes: they give a record or an error, and what is allocated is bounded by
//! their own length and by the limits of [`ReadSet`]. A record made by an older writer never gets
//! more time than it had left, whatever the two wall clocks say.
//!
//! Out of scope: who wrote the bytes, which key they belong to, and of which version they are
//! ([`envelope`](crate::envelope)); and whether a decoded record may be served.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use thiserror::Error;
use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit, Position};

use crate::entry::{Entry, Moment, whole_ms};
use crate::lifetime::Lifetime;
use crate::reads::{Dependencies, FragmentKey, Read, ReadSet, Text};
use crate::tag::{Tag, TagTable};

mod lifetime;
#[cfg(any(test, fuzzing))]
pub(crate) mod plain;
#[cfg(test)]
mod tests;

/// The largest number of tags that a policy can add to a record.
pub const MAX_ADDED_TAGS: usize = 1024;

/// Kinds of reads. A number is never used again for another kind.
mod kind {
    pub(super) const COLLECTION: u8 = 1;
    pub(super) const DOCUMENT: u8 = 2;
    pub(super) const TABLE: u8 = 3;
    pub(super) const BUCKET_KEY: u8 = 4;
    pub(super) const ORIGIN: u8 = 5;
    pub(super) const FRAGMENT: u8 = 6;
    pub(super) const CLOCK: u8 = 7;
    pub(super) const LIFETIME: u8 = 8;
}

/// A value that can leave the process.
pub trait Portable: Sized {
    /// Identifies the type and the version of its encoding: values of another format are refused.
    const FORMAT: [u8; 4];

    /// The memory that the value takes in bytes, for [`Entry::weight_bytes`].
    fn weight_bytes(&self) -> u32;

    /// Appends the value to `out`.
    ///
    /// # Errors
    ///
    /// A part of the value is larger than the encoding allows.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Reads the value that `bytes` consists of. The value does not keep `bytes` in memory.
    ///
    /// # Errors
    ///
    /// `bytes` are not exactly one value.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

impl<V: Portable> Portable for Arc<V> {
    const FORMAT: [u8; 4] = V::FORMAT;

    fn weight_bytes(&self) -> u32 {
        V::weight_bytes(self)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        V::encode(self, out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        V::decode(bytes).map(Self::new)
    }
}

/// Why a record cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The read set overflowed: nobody can tell when the answer changes.
    #[error("the record's read set is incomplete")]
    IncompleteReads,
    /// The policy added too many tags.
    #[error("the record has {tags} tags from its policy; at most {MAX_ADDED_TAGS} can be encoded")]
    TooManyTags {
        /// How many it added.
        tags: usize,
    },
    /// The record, or a part of its value, is too large.
    #[error("{what} has {size} bytes; at most {max} can be encoded")]
    TooLarge {
        /// Which part, with its article.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// There are more bytes than the limit.
    #[error("the record has {bytes} bytes; at most {max_bytes} are allowed")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The record has a value of another type, or another version of it.
    #[error("the record has a value of another format, '{}'", found.escape_ascii())]
    Format {
        /// Its format.
        found: [u8; 4],
    },
    /// The bytes end too early.
    #[error("the record is truncated")]
    Truncated,
    /// More bytes follow the end of the record.
    #[error("the record has bytes after its end")]
    TrailingBytes,
    /// A part has a value that no writer writes.
    #[error("{0} of the record is not valid")]
    Invalid(&'static str),
}

impl From<TryGetError> for DecodeError {
    fn from(_: TryGetError) -> Self {
        Self::Truncated
    }
}

/// An answer outside this process: its value, and everything that decides whether it may be served.
#[derive(Clone, Debug)]
pub struct Record<V> {
    /// The value.
    pub value: V,
    /// The commit at which it was computed.
    pub as_of: Commit,
    /// Everything that can invalidate it.
    pub depends_on: Dependencies,
    /// When it was computed. In a record from another process, the wall clock is the writer's and
    /// the monotonic clock is ours.
    pub stored_at: Moment,
    /// How long it took to compute.
    pub compute: Duration,
    /// How long the shared tier keeps it after `stored_at`. This time can already be over.
    pub shared: Lifetime,
    /// How long a memory tier keeps it after it was stored there; `None` is not at all.
    pub memory: Option<Lifetime>,
}

impl<V: Portable> Record<V> {
    /// Writes the record as bytes, at most `max_bytes` of them.
    ///
    /// # Errors
    ///
    /// The record is too large, or its read set is incomplete.
    pub fn encode(&self, now: Moment, max_bytes: usize) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(256);
        out.put_slice(&V::FORMAT);
        out.put_u64_le(self.as_of.position.0);
        out.put_u32_le(self.as_of.chain.0);
        out.put_u64_le(self.stored_at.unix_ms);
        out.put_u64_le(now.unix_ms);
        // The age is rounded up and the lifetimes down: what remains never grows.
        let age = now.monotonic.saturating_duration_since(self.stored_at.monotonic);
        out.put_u64_le(whole_ms(age.saturating_add(ALMOST_A_MS)));
        out.put_u64_le(whole_ms(self.compute));
        lifetime::put(&mut out, &self.shared);
        lifetime::put_optional(&mut out, self.memory.as_ref());
        put_dependencies(&mut out, &self.depends_on)?;

        let length_at = out.len();
        out.put_u32_le(0);
        self.value.encode(&mut out)?;
        let size = out.len();
        let value_bytes = u32::try_from(size - length_at - size_of::<u32>());
        match value_bytes {
            Ok(value_bytes) if size <= max_bytes => {
                out[length_at..][..size_of::<u32>()].copy_from_slice(&value_bytes.to_le_bytes());
                Ok(out)
            }
            _ => Err(EncodeError::TooLarge { what: "the record", size, max: max_bytes }),
        }
    }

    /// Reads the record that `bytes` consist of.
    ///
    /// # Errors
    ///
    /// `bytes` are more than `max_bytes`, or are not exactly one record with a value of this type.
    pub fn decode(mut bytes: &[u8], max_bytes: usize, now: Moment) -> Result<Self, DecodeError> {
        if bytes.len() > max_bytes {
            return Err(DecodeError::TooLarge { bytes: bytes.len(), max_bytes });
        }
        let from = &mut bytes;
        let found = take_array(from)?;
        if found != V::FORMAT {
            return Err(DecodeError::Format { found });
        }
        let position = Position(from.try_get_u64_le()?);
        let as_of = Commit { position, chain: Chain(from.try_get_u32_le()?) };
        let stored_at_unix_ms = from.try_get_u64_le()?;
        let encoded_at_unix_ms = from.try_get_u64_le()?;
        let age_ms = from.try_get_u64_le()?;
        let compute = lifetime::take_ms(from)?;
        let (shared, memory) = (lifetime::take(from)?, lifetime::take_optional(from)?);
        let depends_on = take_dependencies(from)?;
        let value_bytes = from.try_get_u32_le()? as usize;
        let value = V::decode(take(from, value_bytes)?)?;
        end(from)?;

        // If our wall clock is behind the writer's, no time counts as passed since then.
        let since_ms = now.unix_ms.saturating_sub(encoded_at_unix_ms);
        let age = Duration::from_millis(age_ms.saturating_add(since_ms));
        let monotonic = now.monotonic.checked_sub(age).ok_or(DecodeError::Invalid("the age"))?;
        let stored_at = Moment { monotonic, unix_ms: stored_at_unix_ms };
        Ok(Self { value, as_of, depends_on, stored_at, compute, shared, memory })
    }

    /// The time since it was computed.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        now.monotonic.saturating_duration_since(self.stored_at.monotonic)
    }

    /// The entry for a memory tier, with the cells of its tags. It ends with what remains of the
    /// record's ttl, or when the memory tier has kept it for its own. If its ttl has passed, it is
    /// as stale there as it is in the shared tier. This does not check whether it is valid.
    #[must_use]
    pub fn promote(self, tags: &TagTable, now: Moment) -> Entry<V> {
        let age = self.age(now);
        let lifetime = match self.memory {
            Some(memory) if age < self.shared.ttl => Lifetime {
                ttl: self.shared.ttl.min(age.saturating_add(memory.ttl)),
                refresh_after: earlier(
                    memory.refresh_after.map(|after| after.saturating_add(age)),
                    self.shared.refresh_after,
                ),
                ..memory
            },
            Some(_) | None => self.shared,
        };
        Entry {
            weight_bytes: self.value.weight_bytes(),
            value: self.value,
            as_of: self.as_of,
            reads: tags.resolve(&self.depends_on.tags()),
            depends_on: self.depends_on,
            stored_at: self.stored_at,
            compute: self.compute,
            lifetime,
        }
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

const ALMOST_A_MS: Duration = Duration::from_nanos(999_999);

fn put_dependencies(out: &mut Vec<u8>, depends_on: &Dependencies) -> Result<(), EncodeError> {
    let (reads, tags) = (depends_on.reads(), depends_on.added_tags());
    if !reads.is_complete() {
        return Err(EncodeError::IncompleteReads);
    }
    if tags.len() > MAX_ADDED_TAGS {
        return Err(EncodeError::TooManyTags { tags: tags.len() });
    }
    // Both counts and all lengths fit: sets, names, tags and keys are bounded.
    out.put_u16_le(reads.len() as u16);
    for read in reads.iter() {
        out.put_u8(match read {
            Read::Collection(_) => kind::COLLECTION,
            Read::Document(..) => kind::DOCUMENT,
            Read::Lifetime(_) => kind::LIFETIME,
            Read::Table(..) => kind::TABLE,
            Read::BucketKey(..) => kind::BUCKET_KEY,
            Read::Origin(_) => kind::ORIGIN,
            Read::Fragment(_) => kind::FRAGMENT,
            Read::Clock => kind::CLOCK,
        });
        let texts = read.texts();
        if let Read::Fragment(_) = read {
            out.put_u8(texts.len() as u8);
        }
        for text in texts {
            put_short(out, "a name", text.as_bytes())?;
        }
    }
    out.put_u16_le(tags.len() as u16);
    tags.iter().try_for_each(|tag| put_short(out, "a tag", tag.as_str().as_bytes()))
}

fn take_dependencies(from: &mut &[u8]) -> Result<Dependencies, DecodeError> {
    let count = usize::from(from.try_get_u16_le()?);
    let mut reads = ReadSet::new();
    for _ in 0..count {
        // This stops at the first read over the limit: the set is bounded, but `count` is not.
        if !reads.insert(take_read(from)?) {
            return Err(DecodeError::Invalid("the read set"));
        }
    }
    if reads.len() != count {
        return Err(DecodeError::Invalid("the read set"));
    }
    let count = usize::from(from.try_get_u16_le()?);
    if count > MAX_ADDED_TAGS {
        return Err(DecodeError::Invalid("the number of tags"));
    }
    let tag = |_| Tag::new(take_text(from)?).map_err(|_| DecodeError::Invalid("a tag"));
    let tags = (0..count).map(tag).collect::<Result<_, _>>()?;
    Ok(Dependencies::new(reads, tags))
}

fn take_read(from: &mut &[u8]) -> Result<Read, DecodeError> {
    let read = match from.try_get_u8()? {
        kind::COLLECTION => Read::Collection(take_name(from)?),
        kind::LIFETIME => Read::Lifetime(take_name(from)?),
        kind::DOCUMENT => {
            let collection = take_name(from)?;
            let id = DocumentId::new(take_text(from)?);
            Read::Document(collection, id.map_err(|_| DecodeError::Invalid("a document's id"))?)
        }
        kind::TABLE => Read::Table(take_name(from)?, take_bounded_text(from)?),
        kind::BUCKET_KEY => Read::BucketKey(take_name(from)?, take_bounded_text(from)?),
        kind::ORIGIN => Read::Origin(take_name(from)?),
        kind::FRAGMENT => {
            let invalid = DecodeError::Invalid("a fragment's key");
            let count = usize::from(from.try_get_u8()?);
            if count > FragmentKey::MAX_PARTS {
                return Err(invalid);
            }
            let parts = (0..count).map(|_| take_text(from)).collect::<Result<Vec<_>, _>>()?;
            Read::Fragment(FragmentKey::new(&parts).map_err(|_| invalid)?)
        }
        kind::CLOCK => Read::Clock,
        _ => return Err(DecodeError::Invalid("the kind of a read")),
    };
    Ok(read)
}

fn take_name(from: &mut &[u8]) -> Result<Name, DecodeError> {
    Name::new(take_text(from)?).map_err(|_| DecodeError::Invalid("a name"))
}

fn take_bounded_text(from: &mut &[u8]) -> Result<Text, DecodeError> {
    Text::new(take_text(from)?).map_err(|_| DecodeError::Invalid("a name"))
}

fn take_text<'a>(from: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(take_short(from)?).map_err(|_| DecodeError::Invalid("a text"))
}

/// Appends a length of 2 bytes and `bytes`; `what` is their name in the error.
///
/// # Errors
///
/// There are more than 65,535 bytes.
pub fn put_short(out: &mut Vec<u8>, what: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    let (size, max) = (bytes.len(), usize::from(u16::MAX));
    let length = u16::try_from(size).map_err(|_| EncodeError::TooLarge { what, size, max })?;
    out.put_u16_le(length);
    out.put_slice(bytes);
    Ok(())
}

/// Takes what [`put_short`] wrote from the front of `from`.
///
/// # Errors
///
/// There are fewer bytes.
pub fn take_short<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::from(from.try_get_u16_le()?);
    take(from, length)
}

/// Takes `length` bytes from the front of `from`.
///
/// # Errors
///
/// There are fewer bytes.
pub fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, rest) = from.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *from = rest;
    Ok(taken)
}

/// Takes `N` bytes from the front of `from`.
///
/// # Errors
///
/// There are fewer bytes.
pub fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (taken, rest) = from.split_first_chunk().ok_or(DecodeError::Truncated)?;
    *from = rest;
    Ok(*taken)
}

/// Checks that nothing is left.
///
/// # Errors
///
/// There are bytes left.
pub fn end(from: &[u8]) -> Result<(), DecodeError> {
    if from.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
}
