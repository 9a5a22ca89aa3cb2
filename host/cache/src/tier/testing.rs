//! Records that tests keep in tiers.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use bytes::BufMut as _;
use weir_core::name::Name;
use weir_core::{Chain, Commit, Position};

use crate::CacheKey;
use crate::encoding::{DecodeError, EncodeError, Portable, Record};
use crate::entry::Moment;
use crate::lifetime::Lifetime;
use crate::reads::Dependencies;

/// Bytes, encoded as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Vec<u8>);

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

pub(super) fn key(number: u8) -> CacheKey {
    CacheKey::from_bytes([number; 32])
}

pub(super) fn tenant() -> Name {
    Name::new("tenant").unwrap()
}

pub(super) fn record(value: &[u8]) -> Record<Plain> {
    Record {
        value: Plain(value.to_vec()),
        as_of: Commit { position: Position(7), chain: Chain(1) },
        depends_on: Dependencies::default(),
        stored_at: Moment::now(),
        compute: Duration::ZERO,
        shared: Lifetime::of(Duration::from_secs(60)),
        memory: None,
    }
}
