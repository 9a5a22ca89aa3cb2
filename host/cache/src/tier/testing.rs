//! Records that tests keep in tiers.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use weir_core::name::Name;
use weir_core::{Chain, Commit, Position};

use crate::CacheKey;
use crate::encoding::Record;
use crate::entry::Moment;
use crate::lifetime::Lifetime;
use crate::reads::Dependencies;

pub(super) use crate::encoding::plain::Plain;

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
