//! `[tenants.NAME]`: how a tenant's requests are recognized, what is hosted for it, and the most that
//! it may have.

use serde::Deserialize;
use weir_core::pattern::Scope;

use super::api_key::StoredKey;

/// A tenant. It needs at least one of `hosts`, `path_prefix` and `api_keys`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Host names without a port. Requests to any of them belong to the tenant.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The prefix of its paths, such as `/acme`. The rest is one of Weir's paths.
    pub path_prefix: Option<String>,
    /// The stored form of each key, as `weir api-key` prints it. If there are any, requests
    /// without a key are refused.
    #[serde(default)]
    pub api_keys: Vec<StoredKey>,
    /// The pipelines that are hosted for the tenant.
    #[serde(default = "Scope::all")]
    pub pipelines: Scope,
    /// Its weight where tenants share something: time, slots, memory.
    #[serde(default = "one")]
    pub weight: u32,
    /// The most that it may have.
    #[serde(default)]
    pub quota: Quota,
}

/// `[tenants.NAME.quota]`: the most that a tenant may have. What is not set is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Documents in all of its collections.
    pub max_documents: Option<u64>,
    /// Bytes of the texts and metadata of its documents.
    pub max_bytes: Option<u64>,
    /// Collections.
    pub max_collections: Option<u64>,
    /// The size of its part of the memory tier; otherwise what others leave is divided by weight.
    pub cache_bytes: Option<u64>,
    /// Requests a second, of which those of a second may arrive at once.
    pub max_requests_per_second: Option<u32>,
    /// Requests in flight, until their answers are written.
    pub max_concurrent_requests: Option<usize>,
}

impl Quota {
    /// The part that limits the documents.
    #[must_use]
    pub fn stored(&self) -> weir_store::Quota {
        let Self { max_documents, max_bytes, max_collections, .. } = *self;
        weir_store::Quota { max_documents, max_bytes, max_collections }
    }
}

fn one() -> u32 {
    1
}

impl Tenant {
    /// What is wrong with it, one line per problem.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.hosts.is_empty() && self.path_prefix.is_none() && self.api_keys.is_empty() {
            let problem = "nothing identifies its requests: give hosts, path_prefix or api_keys";
            problems.push(problem.to_owned());
        }
        for host in &self.hosts {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            let name = !host.is_empty() && host.bytes().all(plain);
            let address = host.starts_with('[') && host.ends_with(']');
            if !(name || address) {
                problems.push(format!("hosts: '{host}' is not a host name without a port"));
            }
        }
        if let Some(prefix) = &self.path_prefix
            && !is_prefix(prefix)
        {
            problems.push(format!(
                "path_prefix: '{prefix}' must be '/' and then letters, digits, '.', '_', '-' or \
                 '/', must not end with '/', and must not begin like a path of Weir's own (/v1, \
                 /health, /metrics, /admin)"
            ));
        }
        problems
    }
}

fn is_prefix(prefix: &str) -> bool {
    let Some(rest) = prefix.strip_prefix('/') else { return false };
    let own = ["v1", "health", "metrics", "admin"];
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    rest.split('/').all(segment)
        && !rest.split('/').next().is_some_and(|first| own.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_plain_and_not_weirs_own() {
        for (prefix, valid) in [
            ("/acme", true),
            ("/t/acme", true),
            ("/acme/", false),
            ("acme", false),
            ("/", false),
            ("/a//b", false),
            ("/a/..", false),
            ("/a%2f", false),
            ("/v1", false),
            ("/v1/acme", false),
            ("/health", false),
            ("/v10", true),
        ] {
            assert_eq!(is_prefix(prefix), valid, "{prefix}");
        }
    }
}
