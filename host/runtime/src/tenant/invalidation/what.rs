//! What an administrator can invalidate: the scopes, as they are written in requests and in the truth.
//!
//! Out of scope: who may (`weir-server`), and what it does to answers (`answers`).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_cache::CacheKey;
use weir_cache::invalidation::Label;
use weir_cache::tag::{Tag, TagError};
use weir_core::name::Name;

/// The most parts of a key that a prefix has.
pub const MAX_PREFIX_PARTS: usize = 4;
/// The longest part of a prefix, in bytes.
pub const MAX_PART_BYTES: usize = 4_096;

/// Answers that are invalidated together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// All answers of the tenant.
    Everything,
    /// Those that read something of the collection: searches, documents, also absent ones.
    Collection(Name),
    /// Those that depend on the tag, such as `policy:NAME:TAG` for one that a policy added.
    Tag(String),
    /// Those of the pipeline.
    Pipeline(Name),
    /// The one under this key, in hexadecimal.
    Key(String),
    /// Those of a pipeline whose keys begin with these parts.
    Prefix(Prefix),
}

/// The first parts of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// The pipeline.
    pub pipeline: Name,
    /// The texts of the parts, as an explanation shows them; `None` is an absent one.
    pub parts: Vec<Option<String>>,
}

/// Why something cannot be invalidated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WhatError {
    /// The key is not one.
    #[error("a key has 64 hexadecimal digits")]
    Key,
    /// The tag is not one.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The prefix has no parts, or too many.
    #[error(
        "a prefix has 1 to {MAX_PREFIX_PARTS} parts, and this one has {0}; name the pipeline to \
         invalidate all of its answers"
    )]
    PrefixParts(usize),
    /// A part is too long.
    #[error("a part of a prefix has at most {MAX_PART_BYTES} bytes")]
    PartTooLong,
}

/// What an invalidation is about, as the cache knows it.
pub(super) enum Target {
    Tag(Tag),
    Label(Label),
}

impl What {
    /// Checks what its type does not.
    ///
    /// # Errors
    /// It is nothing that an answer could have.
    pub fn check(&self) -> Result<(), WhatError> {
        self.target().map(drop)
    }

    pub(super) fn target(&self) -> Result<Target, WhatError> {
        Ok(Target::Label(match self {
            Self::Tag(name) => return Ok(Target::Tag(Tag::new(name)?)),
            Self::Everything => everything(),
            Self::Collection(name) => collection(name),
            Self::Pipeline(name) => pipeline(name),
            Self::Key(text) => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| WhatError::Key)?;
                key(&CacheKey::from_bytes(bytes))
            }
            Self::Prefix(Prefix { pipeline, parts }) => {
                if parts.is_empty() || parts.len() > MAX_PREFIX_PARTS {
                    return Err(WhatError::PrefixParts(parts.len()));
                }
                let parts: Vec<_> =
                    parts.iter().map(|part| part.as_deref().map(str::as_bytes)).collect();
                if parts.iter().flatten().any(|part| part.len() > MAX_PART_BYTES) {
                    return Err(WhatError::PartTooLong);
                }
                prefix(pipeline, &parts)
            }
        }))
    }
}

/// The label of all answers.
pub(crate) fn everything() -> Label {
    Label::new(&["everything"])
}

/// The label of the answers that read something of the collection.
pub(crate) fn collection(name: &Name) -> Label {
    Label::new(&["collection", name.as_str()])
}

/// The label of the answers of the pipeline.
pub(crate) fn pipeline(name: &Name) -> Label {
    Label::new(&["pipeline", name.as_str()])
}

/// The label of the answer under this key.
pub(crate) fn key(key: &CacheKey) -> Label {
    Label::with_parts(&["key"], &[Some(key.as_bytes())])
}

/// The label of the answers of the pipeline whose keys begin with these parts.
pub(crate) fn prefix(pipeline: &Name, parts: &[Option<&[u8]>]) -> Label {
    Label::with_parts(&["prefix", pipeline.as_str()], parts)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn scopes_as_they_are_written() {
        let key = "0".repeat(64);
        for (text, error) in [
            (r#""everything""#.to_owned(), None),
            (r#"{"collection":"books"}"#.to_owned(), None),
            (r#"{"tag":"policy:p:t"}"#.to_owned(), None),
            (r#"{"tag":""}"#.to_owned(), Some(WhatError::Tag(TagError::Empty))),
            (r#"{"pipeline":"search"}"#.to_owned(), None),
            (format!(r#"{{"key":"{key}"}}"#), None),
            (r#"{"key":"0"}"#.to_owned(), Some(WhatError::Key)),
            (r#"{"prefix":{"pipeline":"s","parts":["a",null]}}"#.to_owned(), None),
            (
                r#"{"prefix":{"pipeline":"s","parts":[]}}"#.to_owned(),
                Some(WhatError::PrefixParts(0)),
            ),
            (
                r#"{"prefix":{"pipeline":"s","parts":["","","","",""]}}"#.to_owned(),
                Some(WhatError::PrefixParts(5)),
            ),
        ] {
            let what: What = serde_json::from_str(&text).unwrap();
            assert_eq!(what.check().err(), error, "{text}");
            assert_eq!(serde_json::to_string(&what).unwrap(), text);
        }
        for text in
            [r#"{"colection":"books"}"#, r#"{"pipeline":"A B"}"#, "null", r#"{"prefix":{}}"#]
        {
            assert!(serde_json::from_str::<What>(text).is_err(), "{text}");
        }
    }
}
