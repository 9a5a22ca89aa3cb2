//! A vector as bytes, for the shared tier.
//!
//! All numbers are in little-endian order: the number of tokens (4 bytes), the number of components (4),
//! then each component (4). What a store returns can be anything, so only what a model could have made
//! is a vector. Out of scope: which text and which model it is of, which the key says.

use bytes::{Buf as _, BufMut as _};
use weir_cache::encoding::{DecodeError, EncodeError, Portable};

use super::{Embedded, Embedding};

/// How far the length of a vector may be from 1: what rounding a few thousand components adds up to.
const TOLERANCE: f32 = 1e-3;

impl Portable for Embedded {
    const FORMAT: [u8; 4] = *b"emb1";

    fn weight_bytes(&self) -> u32 {
        let bytes = size_of::<usize>() + size_of_val(&*self.vector.0);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let count = |what, size: usize| {
            let max = u32::MAX as usize;
            u32::try_from(size).map_err(|_| EncodeError::TooLarge { what, size, max })
        };
        out.put_u32_le(count("the number of tokens", self.tokens)?);
        out.put_u32_le(count("the vector", self.vector.0.len())?);
        self.vector.0.iter().for_each(|&component| out.put_f32_le(component));
        Ok(())
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let tokens = bytes.try_get_u32_le()? as usize;
        let components = bytes.try_get_u32_le()? as usize;
        match bytes.len().cmp(&components.saturating_mul(size_of::<f32>())) {
            std::cmp::Ordering::Less => return Err(DecodeError::Truncated),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => return Err(DecodeError::TrailingBytes),
        }
        let (components, _) = bytes.as_chunks();
        let vector: Vec<f32> = components.iter().copied().map(f32::from_le_bytes).collect();
        let length = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
        // Of what is not finite, neither is the length.
        let is_unit = (length - 1.0).abs() <= TOLERANCE;
        if !is_unit {
            return Err(DecodeError::Invalid("the length of the vector"));
        }
        Ok(Self { vector: Embedding(vector.into()), tokens })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test's failure is its message")]

    use super::*;

    fn encoded(tokens: usize, components: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Embedded { vector: Embedding(components.into()), tokens }.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_vector_is_the_same_to_the_bit() {
        for (tokens, vector) in [(1, &[-1.0][..]), (0, &[0.6, -0.8]), (256, &[0.5, -0.5, 0.5, 0.5])]
        {
            let decoded = Embedded::decode(&encoded(tokens, vector)).unwrap();
            assert_eq!((decoded.tokens, &*decoded.vector.0), (tokens, vector));
        }
    }

    #[test]
    fn what_no_model_makes_is_no_vector() {
        let good = encoded(3, &[0.6, 0.8]);
        for length in 0..good.len() {
            assert_eq!(Embedded::decode(&good[..length]), Err(DecodeError::Truncated), "{length}");
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(Embedded::decode(&longer), Err(DecodeError::TrailingBytes));
        for vector in [
            &[][..],
            &[0.0],
            &[0.6],
            &[0.6, 0.9],
            &[f32::NAN, 1.0],
            &[f32::INFINITY, 1.0],
            &[f32::MAX, f32::MAX],
        ] {
            let invalid = Err(DecodeError::Invalid("the length of the vector"));
            assert_eq!(Embedded::decode(&encoded(3, vector)), invalid, "{vector:?}");
        }
        // A number of components that says more than the bytes can have.
        let mut huge = good;
        huge[4..8].fill(0xff);
        assert_eq!(Embedded::decode(&huge), Err(DecodeError::Truncated));
    }
}
