//! Which requests a candidate answers: a part of them, and always the same.
//!
//! What a request is divided by is hashed, so a client does not go back and forth between the two, and whoever
//! is in a small part is also in a larger one. Out of scope: what the two are.

use http::HeaderName;
use serde::{Deserialize, Serialize};
use weir_cache::key::{KeyBuilder, KeyPrefix};
use weir_core::name::Name;

use crate::policy::Policy;
use crate::request::Source;

/// What requests are divided by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// What the cache policy makes the key of; without one, the body and the query.
    #[default]
    Key,
    /// Whose requests they are.
    Tenant,
    /// The value of this header. Requests without it are not the candidate's.
    #[serde(with = "header")]
    Header(HeaderName),
}

/// A part of the requests to a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    by: SplitBy,
    /// Of 2⁶⁴ values of the hash, those below.
    below: u64,
    /// Another pipeline divides the same requests in another way.
    prefix: KeyPrefix,
}

impl Split {
    /// So many percent of the requests to a pipeline, 1 to 99.
    #[must_use]
    pub fn new(pipeline: &Name, by: SplitBy, percent: u8) -> Self {
        let below = u64::MAX / 100 * u64::from(percent.min(100));
        Self { by, below, prefix: KeyPrefix::new(&["split", pipeline.as_str()]) }
    }

    /// Whether a request is in it.
    #[must_use]
    pub fn has(&self, tenant: &Name, policy: Option<&Policy>, source: &Source<'_>) -> bool {
        let mut hash = KeyBuilder::new(&self.prefix);
        match &self.by {
            SplitBy::Tenant => {
                hash.part(tenant.as_str().as_bytes());
            }
            SplitBy::Header(name) => match source.headers.get(name) {
                Some(value) => {
                    hash.part(value.as_bytes());
                }
                None => return false,
            },
            SplitBy::Key => match policy {
                Some(policy) => policy.plan.hash(source, &mut hash),
                None => {
                    hash.part(source.body.text());
                    for (name, value) in source.query {
                        hash.part(name.as_bytes()).part(value.as_bytes());
                    }
                }
            },
        }
        let key = hash.finish();
        let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) < self.below
    }
}

/// A header's name as text.
mod header {
    use http::HeaderName;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &HeaderName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderName, D::Error> {
        let text = String::deserialize(from)?;
        HeaderName::try_from(&text)
            .map_err(|_| serde::de::Error::custom(format!("'{text}' is not the name of a header")))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::{HeaderMap, HeaderValue, Method};
    use weir_core::json::{CanonicalJson, JsonLimits, canonicalize};
    use weir_limits::charge::Charge;
    use weir_limits::client::Client;

    use super::*;
    use crate::request::RequestId;

    fn split(by: SplitBy, percent: u8) -> Split {
        Split::new(&Name::new("search").unwrap(), by, percent)
    }

    fn body(number: u32) -> CanonicalJson {
        let limits = JsonLimits { max_bytes: 1_000, max_depth: 4 };
        canonicalize(format!("{{\"number\":{number}}}"), limits).unwrap()
    }

    /// How many of 10,000 requests with different bodies, users and tenants are in it.
    fn count(split: &Split) -> usize {
        (0..10_000).filter(|number| has(split, *number, Some(*number), *number)).count()
    }

    fn has(split: &Split, body_number: u32, user: Option<u32>, tenant: u32) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(user) = user {
            headers.insert("x-user", HeaderValue::from(user));
        }
        let (id, charge, body) = (RequestId::of([1, 2]), Charge::none(), body(body_number));
        let source = Source {
            id: &id,
            client: Client::at([127, 0, 0, 1].into()),
            method: &Method::POST,
            path: "/v1/pipelines/search",
            query: &[],
            headers: &headers,
            body: &body,
            charge: &charge,
        };
        split.has(&Name::new(&format!("tenant-{tenant}")).unwrap(), None, &source)
    }

    #[test]
    fn a_part_has_as_many_requests_as_it_says() {
        let header = || SplitBy::Header(HeaderName::from_static("x-user"));
        for by in [SplitBy::Key, SplitBy::Tenant, header()] {
            for percent in [1, 5, 50, 99] {
                let expected = usize::from(percent) * 100;
                let found = count(&split(by.clone(), percent));
                assert!(found.abs_diff(expected) < 250, "{by:?} {percent} %: {found}");
            }
        }
        assert_eq!(count(&split(SplitBy::Key, 0)), 0);
    }

    #[test]
    fn whoever_is_in_a_small_part_is_in_a_larger_one_and_stays() {
        let (small, large) = (split(SplitBy::Key, 10), split(SplitBy::Key, 40));
        for number in 0..1_000 {
            let in_small = has(&small, number, None, 1);
            assert_eq!(in_small, has(&small, number, Some(7), 2), "{number}");
            assert!(!in_small || has(&large, number, None, 1), "{number}");
        }
    }

    #[test]
    fn requests_without_the_header_are_not_in_it() {
        let by_user = split(SplitBy::Header(HeaderName::from_static("x-user")), 99);
        assert!((0..100).all(|number| !has(&by_user, number, None, number)));
        assert!((0..100).any(|number| has(&by_user, number, Some(number), number)));
        for user in 0..20 {
            let count =
                (0..50).filter(|number| has(&by_user, *number, Some(user), *number)).count();
            assert!(matches!(count, 0 | 50), "one user is on one side: {count}");
        }
    }

    #[test]
    fn what_requests_are_divided_by_is_written_as_json() {
        for (text, by) in [
            ("\"key\"", SplitBy::Key),
            ("\"tenant\"", SplitBy::Tenant),
            ("{\"header\":\"x-user\"}", SplitBy::Header(HeaderName::from_static("x-user"))),
        ] {
            assert_eq!(serde_json::from_str::<SplitBy>(text).unwrap(), by);
            assert_eq!(serde_json::to_string(&by).unwrap(), text);
        }
        assert!(serde_json::from_str::<SplitBy>("{\"header\":\"no such\"}").is_err());
    }
}
