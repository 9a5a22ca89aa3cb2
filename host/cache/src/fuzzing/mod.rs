//! What must hold of any bytes that a store returns, for the fuzz targets in `host/cache/fuzz`, and for
//! the test that replays their corpus. Whatever does not hold is a panic.
//!
//! It exists in tests and with `--cfg fuzzing`, which `cargo xtask soak fuzz` sets. [`envelope`] and
//! [`record`] are the targets. Out of scope: the values of other crates, which have tests of their own,
//! and how much is allocated, which the targets' allocator limits.

use std::time::Duration;

use weir_core::Position;

use crate::CacheKey;
use crate::encoding::plain::Plain;
use crate::encoding::{MAX_ADDED_TAGS, Record};
use crate::entry::Moment;
use crate::envelope::{OpenError, Seal, VERSION};
use crate::reads::ReadSet;
use crate::tag::TagTable;

#[cfg(test)]
mod corpus;

/// The largest content that is opened, and the largest record.
const MAX_BYTES: usize = 16 << 10;
const TRUTH: [u8; 16] = [1; 16];
const SECRET: [u8; 32] = [2; 32];
/// Each envelope is looked up under these keys. It can be right for one.
const KEYS: [CacheKey; 2] = [CacheKey::from_bytes([1; 32]), CacheKey::from_bytes([2; 32])];
/// The reader's wall clock. Fixed, so that an input always does the same.
const NOW_UNIX_MS: u64 = 1_800_000_000_000;

/// What the first byte of an input for [`envelope`] says of the others; larger ones begin again.
mod given_as {
    /// They are what the store has.
    pub(super) const STORED: u8 = 0;
    /// They are what the store has, and their last field is what a faulty node would write.
    pub(super) const RESEALED: u8 = 1;
    /// They are the content that a faulty node seals.
    pub(super) const CONTENT: u8 = 2;
    pub(super) const WAYS: u8 = 3;
}

/// How far bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// They were refused.
    Nothing,
    /// They are an envelope, and its content is not a record.
    Content,
    /// They are a record, or an envelope of one.
    Record,
}

/// Opens an envelope as the first byte of `input` says, and decodes what is in it.
pub fn envelope(input: &[u8]) -> Reached {
    let Some((way, bytes)) = input.split_first() else { return Reached::Nothing };
    let seal = Seal::new(TRUTH, &SECRET);
    match way % given_as::WAYS {
        given_as::STORED | given_as::WAYS.. => opened(&seal, bytes),
        given_as::RESEALED => opened(&seal, &seal.reseal(bytes)),
        given_as::CONTENT => {
            let [key, _] = &KEYS;
            let closed = seal.close(key, bytes);
            match seal.open(key, &closed, MAX_BYTES) {
                Ok(content) => assert_eq!(content, bytes),
                Err(refused) => {
                    let too_large =
                        OpenError::TooLarge { bytes: bytes.len(), max_bytes: MAX_BYTES };
                    assert!(bytes.len() > MAX_BYTES, "{refused}");
                    assert_eq!(refused, too_large);
                }
            }
            opened(&seal, &closed)
        }
    }
}

/// Opens an envelope under each key, and decodes its content.
fn opened(seal: &Seal, envelope: &[u8]) -> Reached {
    let mut reached = Reached::Nothing;
    for key in &KEYS {
        let Ok(content) = seal.open(key, envelope, MAX_BYTES) else { continue };
        assert_eq!(reached, Reached::Nothing, "an envelope opens under two keys");
        assert!(content.len() <= MAX_BYTES, "{} bytes", content.len());
        let fields = [b"WEIR", VERSION.to_le_bytes().as_slice(), &TRUTH, key.as_bytes()].concat();
        assert!(envelope.starts_with(&fields), "it belongs to something else");
        assert_eq!(seal.reseal(envelope), envelope, "nobody with the secret has sealed it");

        let by = |truth, secret| Seal::new(truth, secret).open(key, envelope, MAX_BYTES);
        assert_eq!(by([9; 16], &SECRET), Err(OpenError::OtherTruth));
        assert_eq!(by(TRUTH, &[9; 32]), Err(OpenError::Forged));
        reached = match record(&content) {
            Reached::Record => Reached::Record,
            Reached::Nothing | Reached::Content => Reached::Content,
        };
    }
    reached
}

/// Decodes a record, encodes it again, and keeps it in memory.
pub fn record(content: &[u8]) -> Reached {
    let now = Moment { unix_ms: NOW_UNIX_MS, ..Moment::now() };
    let Ok(read) = Record::<Plain>::decode(content, MAX_BYTES, now) else {
        return Reached::Nothing;
    };
    assert!(content.len() <= MAX_BYTES, "{} bytes", content.len());
    assert!(read.value.0.len() <= content.len());
    assert!(read.depends_on.reads().is_complete());
    assert!(read.depends_on.reads().len() <= ReadSet::MAX_READS);
    assert!(read.depends_on.added_tags().len() <= MAX_ADDED_TAGS);

    let again = match read.encode(now, MAX_BYTES) {
        Ok(bytes) => Record::<Plain>::decode(&bytes, MAX_BYTES, now),
        Err(error) => panic!("a record cannot be encoded again: {error}"),
    };
    match again {
        Ok(again) => assert_same(&read, &again),
        Err(error) => panic!("a record cannot be decoded again: {error}"),
    }
    let (ttl, age) = (read.shared.ttl, read.age(now));
    let entry = read.promote(&TagTable::new(8, Position(0)), now);
    assert!(entry.lifetime.ttl <= ttl, "promotion gives it more time");
    assert!(entry.remaining_ttl(now.monotonic) <= ttl.saturating_sub(age));
    assert_eq!(entry.is_fresh(now.monotonic), entry.remaining_ttl(now.monotonic) > Duration::ZERO);
    Reached::Record
}

fn assert_same(read: &Record<Plain>, again: &Record<Plain>) {
    assert_eq!(read.value, again.value);
    assert_eq!(read.as_of, again.as_of);
    assert_eq!(read.depends_on, again.depends_on);
    assert_eq!((read.stored_at, read.compute), (again.stored_at, again.compute));
    assert_eq!((read.shared, read.memory), (again.shared, again.memory));
}
