//! API keys: what a client sends, and what the configuration stores.
//!
//! A key is `weir_ID_SECRET`: a public id of 16 hexadecimal digits, used for the lookup,
//! and 256 random bits. The configuration stores the id and a BLAKE3 hash, from which the
//! secret cannot be recovered. A slow hash would add nothing to 256 random bits.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const PREFIX: &str = "weir_";
/// BLAKE3's context string for key derivation, which separates this hash from Weir's others.
const HASH_CONTEXT: &str = "weir 2026-11-25 tenant api key";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A key as its owner has it. It is shown once and never stored.
pub struct ApiKey(String);

impl ApiKey {
    /// Creates a key from random bytes.
    #[must_use]
    pub fn of(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> Self {
        Self(format!("{PREFIX}{}_{}", hex::encode(id), URL_SAFE_NO_PAD.encode(secret)))
    }

    /// The text that the client sends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that the configuration stores.
    ///
    /// # Panics
    /// Never, because every key has an id.
    #[must_use]
    pub fn stored(&self) -> StoredKey {
        let id = public_id(&self.0).unwrap_or_default();
        StoredKey { id: id.to_owned(), hash: hash(&self.0) }
    }
}

/// The stored form of a key: `ID:HASH`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoredKey {
    id: String,
    /// Compared in constant time.
    hash: blake3::Hash,
}

/// The text is not `ID:HASH`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "not a stored key: write the line that `weir api-key` prints, 16 hexadecimal digits, a colon \
     and 64 hexadecimal digits; the key itself is never written down"
)]
pub struct StoredKeyError;

impl StoredKey {
    /// The public id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is the stored form of `key`.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        hash(key) == self.hash
    }
}

/// The public id of `key` if it has the form of a key.
#[must_use]
pub fn public_id(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    (is_id(id) && !secret.is_empty()).then_some(id)
}

fn is_id(id: &str) -> bool {
    id.len() == 2 * ID_BYTES && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(key: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(HASH_CONTEXT, key.as_bytes()))
}

impl FromStr for StoredKey {
    type Err = StoredKeyError;

    fn from_str(text: &str) -> Result<Self, StoredKeyError> {
        let (id, hash) = text.split_once(':').ok_or(StoredKeyError)?;
        let hash = blake3::Hash::from_hex(hash).map_err(|_| StoredKeyError)?;
        if is_id(id) { Ok(Self { id: id.to_owned(), hash }) } else { Err(StoredKeyError) }
    }
}

impl TryFrom<String> for StoredKey {
    type Error = StoredKeyError;

    fn try_from(text: String) -> Result<Self, StoredKeyError> {
        text.parse()
    }
}

impl From<StoredKey> for String {
    fn from(key: StoredKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.hash.to_hex())
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_stored_key_knows_its_key_and_no_other() {
        let key = ApiKey::of([1; ID_BYTES], [2; SECRET_BYTES]);
        let stored: StoredKey = key.stored().to_string().parse().unwrap();
        assert_eq!(public_id(key.as_str()), Some(stored.id()));
        assert!(stored.matches(key.as_str()));
        let other = ApiKey::of([1; ID_BYTES], [3; SECRET_BYTES]);
        assert!(!stored.matches(other.as_str()));
        assert!(!stored.to_string().contains(key.as_str().rsplit('_').next().unwrap()));
    }

    #[test]
    fn what_is_not_a_key_has_no_id() {
        for text in
            ["", "weir_", "weir_0101010101010101", "weir_0101010101010101_", "weir_XY_s", "x"]
        {
            assert_eq!(public_id(text), None, "{text}");
        }
        for text in ["", "a:b", "0101010101010101:00", "weir_0101010101010101_secret"] {
            assert_eq!(text.parse::<StoredKey>(), Err(StoredKeyError), "{text}");
        }
    }
}
