//! What can be wrong with a plan, and its limits.

use thiserror::Error;

/// The most parts of one key.
pub(super) const MAX_PARTS: usize = 32;
/// The most transforms of one part. Each costs a pass over the part, for hits too.
pub(super) const MAX_TRANSFORMS: usize = 8;
/// The most tags of one answer.
pub(super) const MAX_TAGS: usize = 64;
/// The longest time of a lifetime: a year.
pub(super) const MAX_TTL_MS: u64 = 365 * 24 * 3_600_000;

/// Why a plan cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The key has no parts, so all requests would share it.
    #[error("the key has no parts")]
    Empty,
    /// The key has too many parts.
    #[error("the key has {0} parts; at most {MAX_PARTS} are allowed")]
    TooManyParts(usize),
    /// A part has too many transforms.
    #[error("a part of the key has {0} transforms; at most {MAX_TRANSFORMS} are allowed")]
    TooManyTransforms(usize),
    /// An answer has too many tags.
    #[error("an answer has {0} tags; at most {MAX_TAGS} are allowed")]
    TooManyTags(usize),
    /// A pointer is malformed, or can lead to an element of an array.
    #[error("the JSON field '{0}' is not a pointer (RFC 6901) to a member of an object")]
    Pointer(String),
    /// A field contains another field, is given twice, or is given together with the body.
    #[error("the JSON field '{0}' overlaps another part of the key")]
    Overlap(String),
    /// Not a valid header name.
    #[error("'{0}' is not a valid header name")]
    Header(String),
    /// Transforms do not apply to the whole body.
    #[error("transforms cannot be applied to the body as a whole")]
    BodyTransform,
    /// A ttl of zero or over a year.
    #[error("ttl-ms is {0}; it must be 1 to {MAX_TTL_MS}")]
    Ttl(u64),
    /// A refresh that is never reached.
    #[error(
        "refresh-after-ms is {refresh_after_ms}; it must be less than ttl-ms, which is {ttl_ms}"
    )]
    RefreshAfter {
        /// Its age.
        refresh_after_ms: u64,
        /// When the answer is no longer fresh.
        ttl_ms: u64,
    },
    /// A time that is too long, or none at all where that means nothing.
    #[error("{name} is {ms}; it must be {least} to {most}")]
    OutOfRange {
        /// Its name.
        name: &'static str,
        /// The time in milliseconds.
        ms: u64,
        /// The shortest.
        least: u64,
        /// The longest.
        most: u64,
    },
    /// A jitter over 100 percent.
    #[error("jitter-percent is {0}; it must be 0 to 100")]
    Jitter(u8),
    /// Not a valid tag.
    #[error("'{0}' is not a valid tag")]
    Tag(String),
}
