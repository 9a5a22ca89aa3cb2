//! The digest of a plugin: what a version of it is called, since a name can move and a digest
//! cannot.
//!
//! Out of scope: where plugins are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The SHA-256 of a plugin's file. Written as 64 hexadecimal digits, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginDigest(pub [u8; 32]);

/// A text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a digest is 64 hexadecimal digits, in lower case")]
pub struct DigestError;

impl PluginDigest {
    /// The digest of a plugin whose file contains `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginDigest({self})")
    }
}

impl FromStr for PluginDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (pairs, rest) = text.as_bytes().as_chunks();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(DigestError);
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(digest))
    }
}

fn digit(character: u8) -> Result<u8, DigestError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(DigestError),
    }
}

impl TryFrom<String> for PluginDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<PluginDigest> for String {
    fn from(digest: PluginDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Of the three bytes `abc`, from FIPS 180-4's examples.
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_the_sha_256_of_the_content() {
        let digest = PluginDigest::of(b"abc");
        assert_eq!(digest.to_string(), OF_ABC);
        assert_eq!(OF_ABC.parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{OF_ABC}\""));
        let read: PluginDigest = serde_json::from_str(&format!("\"{OF_ABC}\"")).unwrap();
        assert_eq!(read, digest);
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let upper = OF_ABC.to_uppercase();
        let (short, long) = (&OF_ABC[..63], format!("{OF_ABC}0"));
        let (sign, wide) = (format!("+{short}"), format!("ä{}", &OF_ABC[2..]));
        for bad in ["", "../lock", &upper, short, &long, &sign, &wide, &OF_ABC.replace('a', "g")] {
            assert_eq!(bad.parse::<PluginDigest>(), Err(DigestError), "{bad:?}");
            let text = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<PluginDigest>(&text).is_err(), "{bad:?}");
        }
    }
}
