//! Canonical JSON: one text for every spelling of the same request.
//!
//! Weir has its own reader because a key must never merge two requests that differ: duplicate
//! names are refused, and numbers keep their spelling (`1`, `1.0` and `1e0` stay different, as
//! do 2⁵³ and 2⁵³ + 1). Members are sorted by the bytes of their unescaped names, whitespace is
//! dropped, and strings escape only `"`, `\` and control characters. The canonical text is
//! never longer than the input.
//!
//! Out of scope: values as a tree, numeric values, and Unicode normalisation.

mod pointer;
mod reader;
#[cfg(test)]
mod tests;
mod text;

use bytes::Bytes;

/// Limits on the JSON that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// The longest input, in bytes, before it is made canonical.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects; a scalar alone has depth 0. Larger values
    /// count as [`JsonLimits::DEEPEST`], because the reader recurses.
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

/// Why JSON was refused. Offsets count bytes of the input.
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
    /// An object names a member twice. Readers disagree about which one counts.
    #[error("the JSON names the member \"{name}\" twice in one object, again at byte {at}")]
    DuplicateKey {
        /// The start of the later name.
        at: usize,
        /// The name as canonical JSON writes it, shortened if it is long.
        name: Box<str>,
    },
    /// Arrays and objects are nested too deeply.
    #[error("the JSON is nested deeper than {max_depth} arrays and objects at byte {at}")]
    TooDeep {
        /// The offset of the first bracket over the limit.
        at: usize,
        /// The limit.
        max_depth: usize,
    },
    /// The input is too long.
    #[error("the JSON has {bytes} bytes, but at most {max_bytes} are read")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// The input is not UTF-8.
    #[error("the JSON is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// The offset of the first invalid byte.
        at: usize,
    },
    /// A string contains U+0000, raw or escaped, which not every store can keep.
    #[error("a string contains the character U+0000 at byte {at}, which is not accepted")]
    NulInText {
        /// The offset of the character, or of its escape.
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

    /// The byte offset of the error. For input that is too large, the first byte over the limit.
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

/// Canonical JSON text. Two of them are equal exactly if their requests are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalJson {
    text: Bytes,
}

impl CanonicalJson {
    /// The text that is hashed and that a guest receives.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// A copy with memory of its own, no more than the text takes.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self { text: Bytes::copy_from_slice(&self.text) }
    }

    /// The canonical text of the value that a JSON pointer (RFC 6901) names. `None` if the
    /// value does not exist or the pointer is malformed. Scans the text, and allocates only for
    /// a pointer that contains `~`.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&[u8]> {
        pointer::find(&self.text, pointer)
    }
}

/// Reads one JSON value and writes its canonical form.
///
/// # Errors
///
/// Any [`JsonError`]; invalid input is never repaired.
pub fn canonicalize(
    input: impl AsRef<[u8]>,
    limits: JsonLimits,
) -> Result<CanonicalJson, JsonError> {
    let text = reader::read(input.as_ref(), limits)?;
    Ok(CanonicalJson { text: Bytes::from(text) })
}
