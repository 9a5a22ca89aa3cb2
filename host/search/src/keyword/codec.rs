//! Statistics as bytes, and the encoding that other parts of an index share: integers in base
//! 128, least significant digit first, and strings behind their lengths. Decoding validates its
//! input: bytes that are not a complete encoding give an error.

use std::sync::Arc;

use bytes::{Buf, BufMut, TryGetError};
use thiserror::Error;

use super::Statistics;
use weir_core::Position;

/// Why bytes cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// They are cut off.
    #[error("it ends too early")]
    Short,
    /// There are too many.
    #[error("extra bytes follow its end")]
    Long,
    /// An integer does not fit its type.
    #[error("an integer is too large")]
    Integer,
    /// A string is damaged.
    #[error("a string is not UTF-8")]
    Text,
    /// The terms of statistics are not in their order.
    #[error("the terms are not sorted and distinct")]
    Order,
}

impl From<TryGetError> for DecodeError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

impl Statistics {
    /// The statistics as bytes; equal statistics give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut terms: Vec<_> = self.document_frequency.iter().collect();
        terms.sort_unstable();
        let mut out = Vec::new();
        put_integer(&mut out, self.epoch.0);
        put_integer(&mut out, self.chunks);
        put_integer(&mut out, terms.len() as u64);
        terms.into_iter().for_each(|(term, frequency)| put_term(&mut out, term, *frequency));
        out
    }

    /// Reads what [`encode`](Self::encode) has written.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let epoch = Position(get_integer(&mut bytes)?);
        let chunks = get_integer(&mut bytes)?;
        let count = get_integer(&mut bytes)?;
        let terms: Vec<_> =
            (0..count).map(|_| get_term(&mut bytes)).collect::<Result<_, DecodeError>>()?;
        end(bytes)?;
        if !terms.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(DecodeError::Order);
        }
        Ok(Self { epoch, chunks, document_frequency: terms.into_iter().collect() })
    }
}

pub(crate) fn put_term(out: &mut Vec<u8>, term: &str, count: u32) {
    put_integer(out, term.len() as u64);
    out.put_slice(term.as_bytes());
    put_integer(out, count.into());
}

pub(crate) fn get_term(bytes: &mut &[u8]) -> Result<(Arc<str>, u32), DecodeError> {
    let length = usize::try_from(get_integer(bytes)?).map_err(|_| DecodeError::Integer)?;
    let (term, rest) = bytes.split_at_checked(length).ok_or(DecodeError::Short)?;
    let term = str::from_utf8(term).map_err(|_| DecodeError::Text)?;
    *bytes = rest;
    Ok((term.into(), get_u32(bytes)?))
}

pub(crate) fn put_integer(out: &mut Vec<u8>, mut integer: u64) {
    while integer >= 0x80 {
        out.put_u8(integer as u8 | 0x80);
        integer >>= 7;
    }
    out.put_u8(integer as u8);
}

pub(crate) fn get_integer(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut integer = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8()?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return Err(DecodeError::Integer);
        }
        integer |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(integer);
        }
    }
    Err(DecodeError::Integer)
}

pub(crate) fn get_u32(bytes: &mut &[u8]) -> Result<u32, DecodeError> {
    get_integer(bytes)?.try_into().map_err(|_| DecodeError::Integer)
}

/// Checks that nothing follows.
pub(crate) fn end(rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Long) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> Statistics {
        let frequencies = [("größe", 1), ("a", 127), ("b", u32::MAX), ("aa", 3)];
        Statistics {
            epoch: Position(u64::MAX),
            chunks: 128,
            document_frequency: frequencies.map(|(term, n)| (term.into(), n)).into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for statistics in [statistics(), Statistics::default()] {
            let bytes = statistics.encode();
            assert_eq!(Statistics::decode(&bytes), Ok(statistics));
        }
    }

    #[test]
    fn equal_statistics_have_equal_bytes() {
        // Each map has a hash function of its own, and so an order of its own.
        for _ in 0..20 {
            assert_eq!(statistics().encode(), statistics().encode());
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = statistics().encode();
        for end in 0..bytes.len() {
            assert_eq!(Statistics::decode(&bytes[..end]), Err(DecodeError::Short), "cut at {end}");
        }
        let cases: [(&[u8], DecodeError); 6] = [
            (&[&bytes[..], &[0]].concat(), DecodeError::Long),
            (&[0xff; 40], DecodeError::Integer),
            (&[0, 0, 1, 1, 0xff, 1], DecodeError::Text),
            (&[0, 0, 1, 1, b'a', 0xff, 0xff, 0xff, 0xff, 0x7f], DecodeError::Integer),
            (&[0, 0, 2, 1, b'b', 1, 1, b'a', 1], DecodeError::Order),
            (&[0, 0, 2, 1, b'a', 1, 1, b'a', 1], DecodeError::Order),
        ];
        for (bytes, error) in cases {
            assert_eq!(Statistics::decode(bytes), Err(error), "{bytes:?}");
        }
    }
}
