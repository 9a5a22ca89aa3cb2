//! Encodes a document's chunks and a collection's statistics for the index file: integers in
//! base 128 (least significant first), floats in four or eight bytes. Decoding validates its
//! input: bytes that are not a complete encoding give an error.

use std::sync::Arc;

use bytes::{Buf, BufMut, TryGetError};
use thiserror::Error;

use crate::IndexedChunk;
use crate::keyword::Statistics;
use weir_core::Position;
use weir_embedding::Embedding;

/// Why bytes cannot be decoded.
#[derive(Debug, Error)]
pub(super) enum DecodeError {
    #[error("it ends too early")]
    Short,
    #[error("extra bytes follow its end")]
    Long,
    #[error("an integer is too large")]
    Integer,
    #[error("a string is not UTF-8")]
    Text,
}

impl From<TryGetError> for DecodeError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

pub(super) fn encode_chunks(chunks: &[IndexedChunk]) -> Vec<u8> {
    let mut out = Vec::new();
    put_integer(&mut out, chunks.len() as u64);
    for chunk in chunks {
        put_integer(&mut out, chunk.start.into());
        put_integer(&mut out, chunk.end.into());
        chunk.embedding.0.iter().for_each(|component| out.put_f32_le(*component));
        put_integer(&mut out, chunk.terms.len() as u64);
        chunk.terms.iter().for_each(|(term, count)| put_term(&mut out, term, *count));
    }
    out
}

pub(super) fn decode_chunks(
    mut bytes: &[u8],
    dimensions: usize,
) -> Result<Vec<IndexedChunk>, DecodeError> {
    let chunk_count = get_integer(&mut bytes)?;
    let mut chunk = |_| {
        let (start, end) = (get_u32(&mut bytes)?, get_u32(&mut bytes)?);
        let vector: Result<Vec<f32>, _> = (0..dimensions).map(|_| bytes.try_get_f32_le()).collect();
        let embedding = Embedding(vector?.into());
        let count = get_integer(&mut bytes)?;
        let terms: Result<_, _> = (0..count).map(|_| get_term(&mut bytes)).collect();
        Ok(IndexedChunk { start, end, embedding, terms: terms? })
    };
    let chunks = (0..chunk_count).map(&mut chunk).collect::<Result<_, DecodeError>>()?;
    end(bytes)?;
    Ok(chunks)
}

pub(super) fn encode_statistics(statistics: &Statistics) -> Vec<u8> {
    let mut out = Vec::new();
    put_integer(&mut out, statistics.epoch.0);
    put_integer(&mut out, statistics.chunks);
    out.put_f64_le(statistics.average_terms);
    put_integer(&mut out, statistics.document_frequency.len() as u64);
    for (term, frequency) in &statistics.document_frequency {
        put_term(&mut out, term, *frequency);
    }
    out
}

pub(super) fn decode_statistics(mut bytes: &[u8]) -> Result<Statistics, DecodeError> {
    let epoch = Position(get_integer(&mut bytes)?);
    let chunks = get_integer(&mut bytes)?;
    let average_terms = bytes.try_get_f64_le()?;
    let count = get_integer(&mut bytes)?;
    let document_frequency =
        (0..count).map(|_| get_term(&mut bytes)).collect::<Result<_, DecodeError>>()?;
    end(bytes)?;
    Ok(Statistics { epoch, chunks, average_terms, document_frequency })
}

fn put_term(out: &mut Vec<u8>, term: &str, count: u32) {
    put_integer(out, term.len() as u64);
    out.put_slice(term.as_bytes());
    put_integer(out, count.into());
}

fn get_term(bytes: &mut &[u8]) -> Result<(Arc<str>, u32), DecodeError> {
    let length = usize::try_from(get_integer(bytes)?).map_err(|_| DecodeError::Integer)?;
    let (term, rest) = bytes.split_at_checked(length).ok_or(DecodeError::Short)?;
    let term = str::from_utf8(term).map_err(|_| DecodeError::Text)?;
    *bytes = rest;
    Ok((term.into(), get_u32(bytes)?))
}

fn put_integer(out: &mut Vec<u8>, mut integer: u64) {
    while integer >= 0x80 {
        out.put_u8(integer as u8 | 0x80);
        integer >>= 7;
    }
    out.put_u8(integer as u8);
}

fn get_integer(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
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

fn get_u32(bytes: &mut &[u8]) -> Result<u32, DecodeError> {
    get_integer(bytes)?.try_into().map_err(|_| DecodeError::Integer)
}

fn end(rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Long) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn chunks() -> Vec<IndexedChunk> {
        let terms = vec![("größe".into(), 1), ("wing".into(), u32::MAX)];
        let embedding = Embedding(vec![0.5, -0.0, f32::MIN_POSITIVE].into());
        vec![
            IndexedChunk { start: 0, end: 300, embedding: embedding.clone(), terms },
            IndexedChunk { start: 301, end: u32::MAX, embedding, terms: vec![] },
        ]
    }

    fn statistics() -> Statistics {
        Statistics {
            epoch: Position(u64::MAX),
            chunks: 128,
            average_terms: 1.0 / 3.0,
            document_frequency: [("a".into(), 1), ("b".into(), 127)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let read = decode_chunks(&encode_chunks(&chunks()), 3).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", chunks()));
        assert!(decode_chunks(&encode_chunks(&[]), 3).unwrap().is_empty());
        assert_eq!(decode_statistics(&encode_statistics(&statistics())).unwrap(), statistics());
    }

    #[test]
    fn other_bytes_are_refused() {
        let (chunks, statistics) = (encode_chunks(&chunks()), encode_statistics(&statistics()));
        for end in 0..chunks.len() {
            assert!(decode_chunks(&chunks[..end], 3).is_err(), "cut at {end}");
        }
        for end in 0..statistics.len() {
            assert!(decode_statistics(&statistics[..end]).is_err(), "cut at {end}");
        }
        assert!(decode_chunks(&[chunks.as_slice(), &[0]].concat(), 3).is_err());
        assert!(decode_chunks(&chunks, 2).is_err());
        assert!(decode_chunks(&[0xff; 40], 3).is_err());
        assert!(decode_statistics(&[0xff; 40]).is_err());
    }
}
