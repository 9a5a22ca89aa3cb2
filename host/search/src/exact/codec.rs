//! Encodes a document's chunks for the index file, with the integers and terms of
//! [`keyword::codec`](crate::keyword::codec) and floats in four bytes.

use bytes::{Buf, BufMut};

use crate::IndexedChunk;
use crate::keyword::DecodeError;
use crate::keyword::codec::{end, get_integer, get_term, get_u32, put_integer, put_term};
use weir_embedding::Embedding;

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

    #[test]
    fn what_is_written_is_read() {
        let read = decode_chunks(&encode_chunks(&chunks()), 3).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", chunks()));
        assert!(decode_chunks(&encode_chunks(&[]), 3).unwrap().is_empty());
    }

    #[test]
    fn other_bytes_are_refused() {
        let chunks = encode_chunks(&chunks());
        for end in 0..chunks.len() {
            assert!(decode_chunks(&chunks[..end], 3).is_err(), "cut at {end}");
        }
        assert!(decode_chunks(&[chunks.as_slice(), &[0]].concat(), 3).is_err());
        assert!(decode_chunks(&chunks, 2).is_err());
        assert!(decode_chunks(&[0xff; 40], 3).is_err());
    }
}
