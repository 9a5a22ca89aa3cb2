//! `Cache-Control` of requests (RFC 9111, 5.2.1): which directives clients use, of those that their
//! pipeline allows.
//!
//! What is malformed or not allowed is ignored, as caches do: browsers send `no-cache` on every reload.
//! Out of scope: what a directive means (`weir_runtime::wishes`).

use std::time::Duration;

use http::{HeaderMap, header};
use weir_runtime::wishes::{Allowed, Directive, Freshness, Wishes};

/// What the client wants of the cache, as far as it is allowed.
pub(super) fn wishes(headers: &HeaderMap, allowed: &Allowed) -> Wishes {
    let mut wishes = Wishes::default();
    if allowed.is_empty() {
        return wishes;
    }
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    for directive in values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','))
    {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim(), Some(argument.trim().trim_matches('"'))),
            None => (directive.trim(), None),
        };
        let is = |known: &str, directive| {
            name.eq_ignore_ascii_case(known) && allowed.contains(&directive)
        };
        if is("no-cache", Directive::NoCache) {
            wishes.freshness = Freshness::New;
        } else if is("no-store", Directive::NoStore) {
            wishes.no_store = true;
        } else if is("only-if-cached", Directive::OnlyIfCached) {
            wishes.only_if_cached = true;
        } else if is("max-age", Directive::MaxAge)
            && let Some(seconds) = argument.and_then(|argument| argument.parse().ok())
        {
            wishes.freshness = stricter(wishes.freshness, Duration::from_secs(seconds));
        }
    }
    wishes
}

fn stricter(freshness: Freshness, most: Duration) -> Freshness {
    match freshness {
        Freshness::Any => Freshness::Within(most),
        Freshness::Within(other) => Freshness::Within(most.min(other)),
        Freshness::New => Freshness::New,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;

    const ALL: [Directive; 4] =
        [Directive::NoCache, Directive::NoStore, Directive::MaxAge, Directive::OnlyIfCached];

    fn asked(lines: &[&str], allowed: &[Directive]) -> Wishes {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        wishes(&headers, &allowed.iter().copied().collect())
    }

    fn within(seconds: u64) -> Wishes {
        let freshness = Freshness::Within(Duration::from_secs(seconds));
        Wishes { freshness, ..Wishes::default() }
    }

    #[test]
    fn directives_are_read() {
        let new = Wishes { freshness: Freshness::New, ..Wishes::default() };
        for (lines, expected) in [
            (&["no-cache"][..], new),
            (&["No-Cache"], new),
            (&["max-age=5, no-cache"], new),
            (&["no-cache", "max-age=5"], new),
            (&["max-age=0"], within(0)),
            (&["max-age=\"7\""], within(7)),
            (&["max-age=9, max-age = 7", "max-age=8"], within(7)),
            (&["no-store"], Wishes { no_store: true, ..Wishes::default() }),
            (&["only-if-cached , max-age=1"], Wishes { only_if_cached: true, ..within(1) }),
        ] {
            assert_eq!(asked(lines, &ALL), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_known_not_well_formed_or_not_allowed_is_ignored() {
        for line in ["", "max-age", "max-age=", "max-age=-1", "max-age=x", "no-cach", "min-fresh=1"]
        {
            assert_eq!(asked(&[line], &ALL), Wishes::default(), "{line}");
        }
        let line = "no-cache, no-store, max-age=0, only-if-cached";
        assert_eq!(asked(&[line], &[]), Wishes::default());
        assert_eq!(asked(&[line], &[Directive::MaxAge]), within(0));
    }
}
