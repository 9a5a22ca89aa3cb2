//! Envelopes: what a tier outside this process holds, so that nothing in it has to be trusted.
//!
//! A [`Seal`] closes bytes into an envelope that only nodes of the same truth can make, and opens
//! it only under the key that it was closed for. With all numbers in little-endian order:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `WEIR` |
//! | 2 | version, which determines the meaning of everything after it |
//! | 16 | the id of the truth |
//! | 32 | the key |
//! | 1 | how the content is kept: 0 as it is, 1 compressed with zstd |
//! | 4 | the length of the content, uncompressed |
//! | … | the content |
//! | 32 | BLAKE3 of everything before, keyed with what only the truth's nodes know |
//!
//! Opening accepts any bytes. Nothing is decompressed before the last field is checked, and then
//! no more than the envelope's reader allows, because a node of this truth may be faulty too.
//!
//! Out of scope: what the content is ([`encoding`](crate::encoding)), and a restored copy of a
//! truth, which has the same id and the same secret: positions carry chain values for that.

use std::cell::RefCell;

use bytes::{Buf, BufMut};
use thiserror::Error;
use zstd::bulk::Decompressor;

use crate::CacheKey;
use crate::encoding::{take, take_array};

/// The version that this release writes, and the only one that it reads.
pub const VERSION: u16 = 3;

const MAGIC: [u8; 4] = *b"WEIR";
const MAC_BYTES: usize = blake3::OUT_LEN;
/// Everything but the content.
const AROUND_BYTES: usize = 4 + 2 + 16 + 32 + 1 + 4 + MAC_BYTES;

/// Contents below this size are kept as they are: little is saved, and every lookup would pay.
const COMPRESSED_FROM_BYTES: usize = 512;
/// zstd's fastest regular level: every miss pays for it.
const LEVEL: i32 = 1;

/// How a content is kept. A number is never used again for another way.
mod kept {
    pub(super) const AS_IT_IS: u8 = 0;
    pub(super) const ZSTD: u8 = 1;
}

/// What nodes of one truth close envelopes with.
#[derive(Clone)]
pub struct Seal {
    truth: [u8; 16],
    mac_key: [u8; 32],
}

/// Why an envelope cannot be opened. To its reader, each is as if there was nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It does not begin like an envelope, or is shorter than one.
    #[error("the bytes are not an envelope")]
    NotAnEnvelope,
    /// It has another version.
    #[error("the envelope has version {found}; this release reads version {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// It belongs to another truth.
    #[error("the envelope belongs to another truth")]
    OtherTruth,
    /// It was closed for another key.
    #[error("the envelope belongs to another key")]
    OtherKey,
    /// It was changed, or nobody who knows the truth's secret has closed it.
    #[error("the envelope is forged or damaged")]
    Forged,
    /// Its content is larger than its reader allows.
    #[error("the content has {bytes} bytes; at most {max_bytes} are allowed")]
    TooLarge {
        /// How large it claims to be.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// Its content is not what the fields before it say.
    #[error("the content is damaged")]
    Damaged,
}

impl Seal {
    /// The seal of the truth with this id and this secret.
    #[must_use]
    pub fn new(truth: [u8; 16], secret: &[u8; 32]) -> Self {
        let mac_key = blake3::derive_key("weir 2026-11 envelope v2 authentication", secret);
        Self { truth, mac_key }
    }

    /// The id of the truth.
    #[must_use]
    pub fn truth(&self) -> &[u8; 16] {
        &self.truth
    }

    /// Closes `content` into an envelope for `key`. Contents are shorter than 4 GiB.
    #[must_use]
    pub fn close(&self, key: &CacheKey, content: &[u8]) -> Vec<u8> {
        let compressed = (content.len() >= COMPRESSED_FROM_BYTES)
            .then(|| zstd::bulk::compress(content, LEVEL).ok())
            .flatten()
            .filter(|compressed| compressed.len() < content.len());
        let (kept_as, kept) = match &compressed {
            Some(compressed) => (kept::ZSTD, compressed.as_slice()),
            None => (kept::AS_IT_IS, content),
        };
        let mut out = Vec::with_capacity(AROUND_BYTES + kept.len());
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_slice(&self.truth);
        out.put_slice(key.as_bytes());
        out.put_u8(kept_as);
        out.put_u32_le(content.len() as u32);
        out.put_slice(kept);
        let mac = blake3::keyed_hash(&self.mac_key, &out);
        out.put_slice(mac.as_bytes());
        out
    }

    /// Seals an envelope again whose content or fields may have been changed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reseal(&self, envelope: &[u8]) -> Vec<u8> {
        let unsealed = &envelope[..envelope.len().saturating_sub(MAC_BYTES)];
        let mac = blake3::keyed_hash(&self.mac_key, unsealed);
        [unsealed, mac.as_bytes()].concat()
    }

    /// The largest envelope whose content has at most `max_bytes`.
    #[must_use]
    pub const fn largest_envelope(max_bytes: usize) -> usize {
        max_bytes.saturating_add(AROUND_BYTES)
    }

    /// Opens an envelope that was closed for `key`. Returns its content, at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// `envelope` is anything else.
    pub fn open(
        &self,
        key: &CacheKey,
        envelope: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, OpenError> {
        let too_short = OpenError::NotAnEnvelope;
        let (mut authenticated, mac) = envelope.split_last_chunk::<MAC_BYTES>().ok_or(too_short)?;
        let all = authenticated;
        let from = &mut authenticated;
        if take_array(from).map_err(|_| too_short)? != MAGIC {
            return Err(OpenError::NotAnEnvelope);
        }
        let found = from.try_get_u16_le().map_err(|_| too_short)?;
        if found != VERSION {
            return Err(OpenError::Version { found });
        }
        if take_array(from).map_err(|_| too_short)? != self.truth {
            return Err(OpenError::OtherTruth);
        }
        if take(from, key.as_bytes().len()).map_err(|_| too_short)? != key.as_bytes() {
            return Err(OpenError::OtherKey);
        }
        // No content is kept in more bytes than it has.
        if envelope.len() > Self::largest_envelope(max_bytes) {
            let bytes = envelope.len() - AROUND_BYTES;
            return Err(OpenError::TooLarge { bytes, max_bytes });
        }
        // Compared in constant time, because a `Hash` is.
        if blake3::keyed_hash(&self.mac_key, all) != blake3::Hash::from_bytes(*mac) {
            return Err(OpenError::Forged);
        }
        let kept_as = from.try_get_u8().map_err(|_| too_short)?;
        let bytes = from.try_get_u32_le().map_err(|_| too_short)? as usize;
        if bytes > max_bytes {
            return Err(OpenError::TooLarge { bytes, max_bytes });
        }
        let content = match kept_as {
            kept::AS_IT_IS => from.to_vec(),
            kept::ZSTD => decompressed(from, bytes).ok_or(OpenError::Damaged)?,
            _ => return Err(OpenError::Damaged),
        };
        if content.len() == bytes { Ok(content) } else { Err(OpenError::Damaged) }
    }
}

/// What was compressed, if it is at most this long. Each thread keeps what it decompresses with, which is large
/// and has no state between envelopes.
fn decompressed(from: &[u8], bytes: usize) -> Option<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
            RefCell::new(Decompressor::new().ok());
    }
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(from, bytes).ok())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    const MAX_BYTES: usize = 1 << 20;

    fn seal(truth: u8, secret: u8) -> Seal {
        Seal::new([truth; 16], &[secret; 32])
    }

    fn key(number: u8) -> CacheKey {
        CacheKey::from_bytes([number; 32])
    }

    /// An envelope with other fields than a node would write, sealed like one.
    fn resealed(mut envelope: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        envelope.truncate(envelope.len() - MAC_BYTES);
        change(&mut envelope);
        envelope.extend_from_slice(&[0; MAC_BYTES]);
        seal(1, 1).reseal(&envelope)
    }

    #[test]
    fn version_3_stays_as_it_is() {
        let envelope = seal(1, 2).close(&key(3), b"content");
        let (before, mac) = envelope.split_last_chunk::<MAC_BYTES>().unwrap();
        let golden =
            [b"WEIR\x03\0".as_slice(), &[1; 16], &[3; 32], b"\0", b"\x07\0\0\0", b"content"];
        assert_eq!(before, golden.concat());
        assert_eq!(
            blake3::Hash::from_bytes(*mac).to_hex().as_str(),
            "e43d84ca504076ff7cf0ec128ba227186b89de88f18484027c1e5f81c0c343b4"
        );
    }

    #[test]
    fn contents_come_back_and_large_ones_are_compressed() {
        let text = b"the same words again and again. ".repeat(100);
        let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().take_noise(4_000);
        for (content, smaller) in
            [(&b""[..], false), (b"short", false), (text.as_slice(), true), (&noise, false)]
        {
            let envelope = seal(1, 1).close(&key(1), content);
            assert_eq!(envelope.len() < content.len(), smaller);
            assert!(envelope.len() <= content.len() + AROUND_BYTES);
            assert_eq!(seal(1, 1).open(&key(1), &envelope, content.len()).unwrap(), content);
        }
    }

    trait Noise {
        fn take_noise(self, bytes: usize) -> Vec<u8>;
    }

    impl Noise for blake3::OutputReader {
        fn take_noise(mut self, bytes: usize) -> Vec<u8> {
            let mut noise = vec![0; bytes];
            self.fill(&mut noise);
            noise
        }
    }

    #[test]
    fn what_this_truth_did_not_write_for_this_key_is_refused() {
        let envelope = seal(1, 1).close(&key(1), b"content");
        let open = |by: &Seal, of, envelope: &[u8]| by.open(&key(of), envelope, MAX_BYTES);
        assert_eq!(open(&seal(2, 1), 1, &envelope), Err(OpenError::OtherTruth));
        assert_eq!(open(&seal(1, 2), 1, &envelope), Err(OpenError::Forged));
        assert_eq!(open(&seal(1, 1), 2, &envelope), Err(OpenError::OtherKey));
        for (bytes, refused) in [
            (&b""[..], OpenError::NotAnEnvelope),
            (b"WEIR\x03\0", OpenError::NotAnEnvelope),
            (&[0; 500], OpenError::NotAnEnvelope),
            (&[b"WEIR\x02\0".as_slice(), &[0; 500]].concat(), OpenError::Version { found: 2 }),
            (&[b"WEIR\x04\0".as_slice(), &[0; 500]].concat(), OpenError::Version { found: 4 }),
        ] {
            assert_eq!(open(&seal(1, 1), 1, bytes), Err(refused));
        }
    }

    #[test]
    fn a_faulty_node_of_this_truth_is_refused() {
        const KEPT_AS_AT: usize = 54;
        const LENGTH_AT: usize = 55;
        const CONTENT_AT: usize = 59;
        let text = b"the same words again and again. ".repeat(100);
        let envelope = || seal(1, 1).close(&key(1), &text);
        let open = |envelope: &[u8], max_bytes| seal(1, 1).open(&key(1), envelope, max_bytes);
        assert!(open(&resealed(envelope(), |_| {}), MAX_BYTES).is_ok());
        let too_large = OpenError::TooLarge { bytes: text.len(), max_bytes: text.len() - 1 };
        assert_eq!(open(&envelope(), text.len() - 1), Err(too_large));

        let length = |length: u32| {
            resealed(envelope(), |to| {
                to[LENGTH_AT..CONTENT_AT].copy_from_slice(&length.to_le_bytes());
            })
        };
        // A bomb: it says that it is smaller than it is.
        assert_eq!(open(&length(10), MAX_BYTES), Err(OpenError::Damaged));
        assert_eq!(open(&length(text.len() as u32 + 1), MAX_BYTES), Err(OpenError::Damaged));
        let huge = OpenError::TooLarge { bytes: u32::MAX as usize, max_bytes: MAX_BYTES };
        assert_eq!(open(&length(u32::MAX), MAX_BYTES), Err(huge));
        for kept_as in [kept::AS_IT_IS, 2, u8::MAX] {
            let other = resealed(envelope(), |to| to[KEPT_AS_AT] = kept_as);
            assert_eq!(open(&other, MAX_BYTES), Err(OpenError::Damaged), "{kept_as}");
        }
        let cut = resealed(envelope(), |to| to.truncate(CONTENT_AT + 5));
        assert_eq!(open(&cut, MAX_BYTES), Err(OpenError::Damaged));
        let cut = resealed(envelope(), |to| to.truncate(LENGTH_AT));
        assert_eq!(open(&cut, MAX_BYTES), Err(OpenError::NotAnEnvelope));
    }

    proptest! {
        #[test]
        fn every_changed_byte_and_every_truncation_is_refused(
            content in prop::collection::vec(any::<u8>(), 0..40),
            flip in 1..=u8::MAX,
        ) {
            let seal = seal(1, 1);
            let envelope = seal.close(&key(1), &content);
            for at in 0..envelope.len() {
                let mut flipped = envelope.clone();
                flipped[at] ^= flip;
                prop_assert!(seal.open(&key(1), &flipped, MAX_BYTES).is_err());
                prop_assert!(seal.open(&key(1), &envelope[..at], MAX_BYTES).is_err());
            }
            prop_assert_eq!(seal.open(&key(1), &envelope, MAX_BYTES).unwrap(), content);
        }

        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(seal(1, 1).open(&key(1), &bytes, MAX_BYTES).is_err());
        }
    }
}
