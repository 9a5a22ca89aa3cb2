//! Finds the tenant of a request by host name, path prefix or API key.
//!
//! While no tenant is configured, every request belongs to the tenant `default`. Otherwise the
//! host name decides first, then the path prefix; a request that neither identifies belongs to
//! the tenant of its API key. A tenant that has keys accepts only requests with one of them, and no
//! tenant accepts a key that is not its own.
//!
//! Out of scope: users within a tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, header};
use thiserror::Error;
use weir_core::name::Name;
use weir_runtime::answers::Answers;
use weir_runtime::tenant::Tenant;

pub mod admin_token;
pub mod api_key;
pub mod config;
pub mod host;
pub mod requests;
pub mod tokens;

use self::api_key::{StoredKey, public_id};
use self::requests::RequestLimits;

/// A tenant as requests meet it.
pub struct Member {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// The cache of its answers, and how new answers are computed.
    pub answers: Arc<Answers>,
    /// How many requests it may send; `None` sets no limit.
    pub limits: Option<RequestLimits>,
}

/// The tenants of a server, and how their requests are recognized.
pub struct Tenants {
    by_name: BTreeMap<Name, Arc<Member>>,
    rule: Rule,
}

enum Rule {
    /// Every request belongs to this tenant.
    Always(Arc<Member>),
    Configured(Configured),
}

#[derive(Default)]
struct Configured {
    by_host: HashMap<String, Arc<Member>>,
    by_prefix: Vec<(String, Arc<Member>)>,
    /// By public id.
    keys: HashMap<String, (StoredKey, Arc<Member>)>,
    /// The tenants that have keys.
    needs_key: Vec<Name>,
}

/// A request's tenant, and how much of the path is the tenant's prefix.
#[derive(Clone)]
pub struct Identified<'a> {
    /// The tenant.
    pub member: &'a Arc<Member>,
    /// The length of the prefix in the path, in bytes.
    pub prefix_bytes: usize,
}

/// Why a request has no valid tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unidentified {
    /// No tenant matches the host name, the path or the key.
    #[error("the request does not identify a tenant")]
    UnknownTenant,
    /// The tenant requires an API key.
    #[error("the tenant requires an API key")]
    MissingKey,
    /// The key does not belong to this tenant.
    #[error("the API key is not valid here")]
    InvalidKey,
}

impl Tenants {
    /// A single tenant that every request belongs to.
    #[must_use]
    pub fn single(member: Member) -> Self {
        let member = Arc::new(member);
        let by_name = BTreeMap::from([(member.tenant.name.clone(), Arc::clone(&member))]);
        Self { by_name, rule: Rule::Always(member) }
    }

    /// The configured tenants. The configuration has already checked that they are distinct.
    #[must_use]
    pub fn configured(members: impl IntoIterator<Item = (Member, config::Tenant)>) -> Self {
        let mut by_name = BTreeMap::new();
        let mut rule = Configured::default();
        for (member, config) in members {
            let member = Arc::new(member);
            for host in config.hosts {
                rule.by_host.insert(host.to_ascii_lowercase(), Arc::clone(&member));
            }
            if let Some(prefix) = config.path_prefix {
                rule.by_prefix.push((prefix, Arc::clone(&member)));
            }
            if !config.api_keys.is_empty() {
                rule.needs_key.push(member.tenant.name.clone());
            }
            for key in config.api_keys {
                rule.keys.insert(key.id().to_owned(), (key, Arc::clone(&member)));
            }
            by_name.insert(member.tenant.name.clone(), member);
        }
        Self { by_name, rule: Rule::Configured(rule) }
    }

    /// Whether there are any but the one that every request belongs to.
    #[must_use]
    pub fn are_configured(&self) -> bool {
        matches!(self.rule, Rule::Configured(_))
    }

    /// The host names that identify tenants.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let configured = match &self.rule {
            Rule::Always(_) => None,
            Rule::Configured(rule) => Some(rule.by_host.keys().map(String::as_str)),
        };
        configured.into_iter().flatten()
    }

    /// All tenants, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.members().map(|member| &member.tenant)
    }

    /// All tenants and what they have, by name.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.by_name.values()
    }

    /// How much of the path is the prefix of a tenant, whether or not the request has the tenant's key.
    #[must_use]
    pub fn prefix_bytes(&self, head: &Parts) -> usize {
        match &self.rule {
            Rule::Always(_) => 0,
            Rule::Configured(rule) => rule.named(head).map_or(0, |named| named.prefix_bytes),
        }
    }

    /// The tenant of the request with this `head`. If tenants are configured, the API key is
    /// removed from the headers, so that no pipeline can read it.
    ///
    /// # Errors
    /// No tenant matches, or the key is missing or wrong.
    pub fn identify(&self, head: &mut Parts) -> Result<Identified<'_>, Unidentified> {
        match &self.rule {
            Rule::Always(member) => Ok(Identified { member, prefix_bytes: 0 }),
            Rule::Configured(rule) => rule.identify(head),
        }
    }
}

impl Configured {
    fn identify(&self, head: &mut Parts) -> Result<Identified<'_>, Unidentified> {
        let named = self.named(head);
        let sent = take_key(&mut head.headers);
        let key = sent.as_deref().map(|key| self.owner(key).ok_or(Unidentified::InvalidKey));
        let Some(named) = named else {
            let member = key.unwrap_or(Err(Unidentified::UnknownTenant))?;
            return Ok(Identified { member, prefix_bytes: 0 });
        };
        match key.transpose()? {
            Some(owner) if !Arc::ptr_eq(owner, named.member) => Err(Unidentified::InvalidKey),
            None if self.needs_key.contains(&named.member.tenant.name) => {
                Err(Unidentified::MissingKey)
            }
            _ => Ok(named),
        }
    }

    /// The tenant that the host name or the path identifies.
    fn named(&self, head: &Parts) -> Option<Identified<'_>> {
        let by_host = |host: &str| self.by_host.get(&host.to_ascii_lowercase());
        if let Some(member) = host::named(head).and_then(by_host) {
            return Some(Identified { member, prefix_bytes: 0 });
        }
        let path = head.uri.path();
        let (prefix, member) = self.by_prefix.iter().find(|(prefix, _)| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })?;
        Some(Identified { member, prefix_bytes: prefix.len() })
    }

    /// The tenant of a key.
    fn owner(&self, key: &str) -> Option<&Arc<Member>> {
        let (stored, member) = self.keys.get(public_id(key)?)?;
        stored.matches(key).then_some(member)
    }
}

/// Removes `Authorization: Bearer weir_…` from the headers.
fn take_key(headers: &mut HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || !key.starts_with("weir_") {
        return None;
    }
    let key = key.to_owned();
    headers.remove(header::AUTHORIZATION);
    Some(key)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_key_of_weirs_is_taken_out_of_the_headers() {
        for (value, key) in [
            ("Bearer weir_a_b", Some("weir_a_b")),
            ("bearer  weir_a_b", Some("weir_a_b")),
            ("Bearer other", None),
            ("Basic weir_a_b", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(take_key(&mut headers).as_deref(), key, "{value}");
            assert_eq!(headers.contains_key(header::AUTHORIZATION), key.is_none(), "{value}");
        }
    }
}
