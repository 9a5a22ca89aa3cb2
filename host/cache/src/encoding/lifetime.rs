//! [`Lifetime`]s as bytes: in milliseconds and little-endian order, the ttl (8 bytes), the age of a
//! refresh (8, all bits set if there is none), the percent of early refreshes (2), and for how long it may
//! be served while it is computed again, on errors, and after a change (8 each).

use std::time::Duration;

use bytes::{Buf as _, BufMut as _};

use super::DecodeError;
use crate::entry::whole_ms;
use crate::lifetime::Lifetime;

const NO_REFRESH: u64 = u64::MAX;

pub(super) fn put(out: &mut Vec<u8>, lifetime: &Lifetime) {
    out.put_u64_le(whole_ms(lifetime.ttl));
    out.put_u64_le(lifetime.refresh_after.map_or(NO_REFRESH, whole_ms));
    out.put_u16_le(lifetime.early_refresh_percent);
    out.put_u64_le(whole_ms(lifetime.stale_while_revalidate));
    out.put_u64_le(whole_ms(lifetime.stale_if_error));
    out.put_u64_le(whole_ms(lifetime.stale_after_change));
}

pub(super) fn take(from: &mut &[u8]) -> Result<Lifetime, DecodeError> {
    let ttl = take_ms(from)?;
    let refresh_after = from.try_get_u64_le()?;
    Ok(Lifetime {
        ttl,
        refresh_after: (refresh_after != NO_REFRESH).then(|| Duration::from_millis(refresh_after)),
        early_refresh_percent: from.try_get_u16_le()?,
        stale_while_revalidate: take_ms(from)?,
        stale_if_error: take_ms(from)?,
        stale_after_change: take_ms(from)?,
    })
}

/// Puts the lifetime, if there is one, after a byte that says so.
pub(super) fn put_optional(out: &mut Vec<u8>, lifetime: Option<&Lifetime>) {
    out.put_u8(lifetime.is_some().into());
    if let Some(lifetime) = lifetime {
        put(out, lifetime);
    }
}

pub(super) fn take_optional(from: &mut &[u8]) -> Result<Option<Lifetime>, DecodeError> {
    match from.try_get_u8()? {
        0 => Ok(None),
        1 => take(from).map(Some),
        _ => Err(DecodeError::Invalid("whether a memory tier keeps it")),
    }
}

pub(super) fn take_ms(from: &mut &[u8]) -> Result<Duration, DecodeError> {
    Ok(Duration::from_millis(from.try_get_u64_le()?))
}
