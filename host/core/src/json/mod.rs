//! Canonical JSON: the one text that every spelling of the same request shares.
//!
//! A reader of our own, because a key must never merge two requests that differ:
//! duplicate names are refused, and number lexemes are kept (`1`, `1.0` and `1e0` stay
//! apart, as do 2⁵³ and 2⁵³ + 1). Members are sorted by the bytes of their unescaped
//! names, whitespace is dropped, and strings escape only `"`, `\` and control characters.
//! A canonical text is never longer than what it was made of.
//!
//! Left out on purpose: values as a tree, numbers as numbers, and normalising Unicode.

mod pointer;
mod reader;
#[cfg(test)]
mod tests;
mod text;

use bytes::Bytes;

/// What a text may cost before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// The longest text, before it is made canonical.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects; a scalar alone has depth 0. More than
    /// [`JsonLimits::DEEPEST`] counts as that, because the reader recurses.
    pub max_depth: usize,
}

impl JsonLimits {
    /// The deepest nesting that any configuration can allow.
    pub const DEEPEST: usize = 512;
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 64 }
    }
}

/// Why a text was refused. Offsets count bytes of the text as it came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON (RFC 8259).
    #[error("the JSON is invalid at byte {at}: {problem}")]
    Invalid {
        /// Where reading stopped.
        at: usize,
        /// What was expected there, or what is wrong.
        problem: &'static str,
    },
    /// An object names a member twice; readers disagree about which one counts.
    #[error("the JSON names the member \"{name}\" twice in one object, again at byte {at}")]
    DuplicateKey {
        /// The start of the later name.
        at: usize,
        /// The name as canonical JSON writes it, cut when it is long.
        name: Box<str>,
    },
    /// Arrays and objects are nested too deeply.
    #[error("the JSON is nested deeper than {max_depth} arrays and objects at byte {at}")]
    TooDeep {
        /// The bracket that is one too many.
        at: usize,
        /// The limit.
        max_depth: usize,
    },
    /// The text is too long.
    #[error("the JSON has {bytes} bytes, and at most {max_bytes} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The text is not UTF-8.
    #[error("the JSON is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// The first byte that is wrong.
        at: usize,
    },
    /// A string holds U+0000, raw or escaped, which stores cannot keep in a text.
    #[error("a string holds the character U+0000 at byte {at}, which is not accepted")]
    NulInText {
        /// The character, or the start of its escape.
        at: usize,
    },
}

impl JsonError {
    /// The stable name of the error, for clients.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid-json",
            Self::DuplicateKey { .. } => "duplicate-key",
            Self::TooDeep { .. } => "too-deep",
            Self::TooLarge { .. } => "too-large",
            Self::InvalidUtf8 { .. } => "invalid-utf8",
            Self::NulInText { .. } => "nul-in-text",
        }
    }

    /// The byte that the error is about; for a text that is too large, the first byte
    /// beyond the limit.
    #[must_use]
    pub fn offset_bytes(&self) -> usize {
        match *self {
            Self::Invalid { at, .. }
            | Self::DuplicateKey { at, .. }
            | Self::TooDeep { at, .. }
            | Self::InvalidUtf8 { at }
            | Self::NulInText { at } => at,
            Self::TooLarge { max_bytes, .. } => max_bytes,
        }
    }
}

/// A canonical JSON text. Two are equal exactly when their requests are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalJson {
    text: Bytes,
}

impl CanonicalJson {
    /// The text: what is hashed, and what a guest receives.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The canonical text of the value that a JSON pointer (RFC 6901) names; `None` when
    /// there is no such value, or when the pointer is not one. It scans the text and
    /// allocates only for a pointer that holds `~`.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&[u8]> {
        pointer::find(&self.text, pointer)
    }
}

/// Reads a whole JSON text and writes its canonical form.
///
/// # Errors
///
/// Any [`JsonError`]; nothing is repaired.
pub fn canonicalize(
    input: impl AsRef<[u8]>,
    limits: JsonLimits,
) -> Result<CanonicalJson, JsonError> {
    let text = reader::read(input.as_ref(), limits)?;
    Ok(CanonicalJson { text: Bytes::from(text) })
}
