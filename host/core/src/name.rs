//! Names of collections, pipelines, policies and tenants, and ids of documents. Each is validated
//! once, when it enters Weir.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a collection, pipeline, policy or tenant: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// A document's id: 1 to 512 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentId(Arc<str>);

/// Why text is not a valid [`Name`] or [`DocumentId`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not `[a-z0-9][a-z0-9._-]{0,63}`.
    #[error(
        "a name is 1 to 64 characters (a-z, 0-9, '.', '_', '-') and begins with a letter or a digit"
    )]
    Name,
    /// Empty, over 512 bytes, or with a control character.
    #[error("a document's id is 1 to 512 bytes of UTF-8 without control characters")]
    DocumentId,
}

impl Name {
    /// Validates `text`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let first = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let rest = |b: &u8| first(b) || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&bytes.len()) && first(&bytes[0]) && bytes.iter().all(rest) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Name)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DocumentId {
    /// Validates `text`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if (1..=512).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::DocumentId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    )*};
}
text_conversions!(Name, DocumentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(64);
        for good in ["a", "0", "rust-book", "a.b_c-d", longest.as_str()] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in ["", "-a", ".a", "A", "ä", "a b", "a/b", "a\0", too_long.as_str()] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn document_ids_are_bounded_and_printable() {
        let longest = "ü".repeat(256);
        for good in ["a", "a/b", "https://x.example/?q=1", " ", longest.as_str()] {
            assert!(DocumentId::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(513);
        for bad in ["", "a\0", "a\nb", "\u{85}", too_long.as_str()] {
            assert!(DocumentId::new(bad).is_err(), "{bad}");
        }
    }
}
