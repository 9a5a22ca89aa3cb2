//! What the cache did for an answer, as its `Cache-Status` says (docs/http.md).

use crate::client::is_cache_hit;

/// What the cache did for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// There is no such header.
    Absent,
    /// A hit of the memory tier.
    Memory,
    /// A hit of the shared tier.
    Shared,
    /// A hit that is old: it has expired, or something that it read has changed.
    Stale,
    /// A failure that was kept.
    Failure,
    /// Another request's run was waited for.
    Collapsed,
    /// Computed for this request.
    Miss,
    /// The cache was not asked.
    Bypass,
}

impl CacheStatus {
    /// Reads the header of a single cache.
    pub(crate) fn parse(header: &str) -> Self {
        let mut parts = header.split(';').map(str::trim);
        let detail = parts.clone().find_map(|part| part.strip_prefix("detail="));
        if is_cache_hit(header) {
            return match detail {
                None => Self::Memory,
                Some("shared") => Self::Shared,
                Some("failure") => Self::Failure,
                Some(_) => Self::Stale,
            };
        }
        let is_collapsed = parts.clone().any(|part| part == "collapsed");
        match parts.find_map(|part| part.strip_prefix("fwd=")) {
            None => Self::Absent,
            Some(_) if is_collapsed => Self::Collapsed,
            Some("bypass") => Self::Bypass,
            Some(_) => Self::Miss,
        }
    }

    /// Whether the answer came from the cache.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Memory | Self::Shared | Self::Stale | Self::Failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_of_the_reference_is_known() {
        use CacheStatus::*;
        for (header, expected) in [
            (" weir; hit; ttl=299", Memory),
            ("weir; hit; ttl=299; detail=shared", Shared),
            ("weir; hit; ttl=-3; detail=stale-while-revalidate", Stale),
            ("weir; hit; ttl=-3; detail=stale-if-error", Stale),
            ("weir; hit; ttl=12; detail=stale-after-change", Stale),
            ("weir; hit; ttl=1; detail=failure", Failure),
            ("weir; fwd=miss; stored", Miss),
            ("weir; fwd=request; stored", Miss),
            ("weir; fwd=miss; detail=policy", Miss),
            ("weir; fwd=miss; collapsed", Collapsed),
            ("weir; fwd=bypass; detail=no-policy", Bypass),
            ("", Absent),
        ] {
            assert_eq!(CacheStatus::parse(header), expected, "{header}");
            assert_eq!(expected.is_hit(), is_cache_hit(header), "{header}");
        }
    }
}
