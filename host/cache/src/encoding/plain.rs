//! A value for tests and fuzzing, encoded as its bytes.

use bytes::BufMut as _;

use super::{DecodeError, EncodeError, Portable};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plain(pub(crate) Vec<u8>);

impl Portable for Plain {
    const FORMAT: [u8; 4] = *b"tst1";

    fn weight_bytes(&self) -> u32 {
        self.0.len() as u32
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(bytes.to_vec()))
    }
}
