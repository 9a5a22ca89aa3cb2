//! Keys: the parts of a request that a policy names, as 32 bytes.
//!
//! Each part is hashed after its length, so two different lists of parts are never the same bytes.
//! What the host puts before them (such as tenant, pipeline and digests) is hashed once per
//! deployment and becomes the key of the hash, so that a request pays only for its own parts.
//!
//! Out of scope: which parts a key has, which the policy's plan decides.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// Written as the length of an absent part. No real part is that long.
const ABSENT: u64 = u64::MAX;

/// The key of a request's answer, the same in every tier and on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Hash for CacheKey {
    /// The bytes are already a hash, so eight of them are enough for a table. A table still needs
    /// a secret of its own, because a client can choose requests for which these eight are equal.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

/// What precedes the parts in every key of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix([u8; 32]);

impl KeyPrefix {
    /// A prefix of these parts, in this order.
    #[must_use]
    pub fn new(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("weir 2026-11 cache key prefix v1");
        for part in parts {
            feed(&mut hasher, part.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The prefix as bytes. They are equal if and only if the parts are.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Builds one key, part by part.
#[derive(Clone, Debug)]
pub struct KeyBuilder(blake3::Hasher);

impl KeyBuilder {
    /// Starts a key of this deployment, without parts.
    #[must_use]
    pub fn new(prefix: &KeyPrefix) -> Self {
        Self(blake3::Hasher::new_keyed(&prefix.0))
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        feed(&mut self.0, bytes);
        self
    }

    /// Adds an absent part, which differs from an empty one and from `null`.
    pub fn absent(&mut self) -> &mut Self {
        self.0.update(&ABSENT.to_le_bytes());
        self
    }

    /// The key.
    #[must_use]
    pub fn finish(&self) -> CacheKey {
        CacheKey(*self.0.finalize().as_bytes())
    }
}

fn feed(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(prefix: &[&str], parts: &[Option<&[u8]>]) -> CacheKey {
        let mut builder = KeyBuilder::new(&KeyPrefix::new(prefix));
        for part in parts {
            match part {
                Some(bytes) => builder.part(bytes),
                None => builder.absent(),
            };
        }
        builder.finish()
    }

    #[test]
    fn similar_lists_have_different_keys() {
        let absent_length = ABSENT.to_le_bytes();
        let keys = [
            key(&["acme", "search"], &[]),
            key(&["acme"], &[]),
            key(&["acmesearch"], &[]),
            key(&["search", "acme"], &[]),
            key(&["acme"], &[Some(b"search")]),
            key(&["acme"], &[Some(b"")]),
            key(&["acme"], &[None]),
            key(&["acme"], &[Some(b"null")]),
            key(&["acme"], &[Some(&absent_length)]),
            key(&["acme"], &[None, None]),
            key(&["acme"], &[Some(b"a"), None]),
            key(&["acme"], &[None, Some(b"a")]),
            key(&["acme"], &[Some(b"ab"), Some(b"c")]),
            key(&["acme"], &[Some(b"a"), Some(b"bc")]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "list {index}");
        }
    }

    #[test]
    fn a_key_is_the_same_on_every_node_and_round_trips() {
        let made = key(&["acme", "search"], &[Some(b"{\"query\":\"a\"}"), None]);
        assert_eq!(made, key(&["acme", "search"], &[Some(b"{\"query\":\"a\"}"), None]));
        assert_eq!(CacheKey::from_bytes(*made.as_bytes()), made);
        assert_eq!(made.to_string().len(), 64);
    }

    proptest! {
        #[test]
        fn keys_are_equal_if_and_only_if_parts_are(
            left in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..4),
            right in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..4),
        ) {
            let of = |parts: &[Option<String>]| {
                let parts: Vec<_> =
                    parts.iter().map(|part| part.as_deref().map(str::as_bytes)).collect();
                key(&["p"], &parts)
            };
            prop_assert_eq!(of(&left) == of(&right), left == right);
        }
    }
}
