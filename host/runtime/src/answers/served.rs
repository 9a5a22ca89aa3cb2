//! What comes out of serving: an answer, how it was come by, and the position that it is
//! exact at.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use weir_core::Position;

use crate::pipeline::{Answer, Run, RunError};
use crate::policy::component::Outcome;

/// 128 bits as hex, between quotes.
pub(super) const ETAG_BYTES: usize = 34;

/// What the tiers keep and what clients get: a pipeline's answer, ready to be sent.
#[derive(Debug)]
pub struct StoredAnswer {
    /// The status.
    pub status: StatusCode,
    /// The content type.
    pub content_type: HeaderValue,
    /// The pipeline's further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A strong validator: hex between quotes. In place, because a header's value of its own
    /// would be one more place in memory that a hit has to visit.
    pub(super) etag: [u8; ETAG_BYTES],
    /// The body.
    pub body: Bytes,
}

/// How an answer was come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The memory tier had it.
    Hit {
        /// Since it was stored.
        age: Duration,
        /// Freshness left.
        ttl_left: Duration,
    },
    /// Another request's run was waited for.
    Collapsed,
    /// The pipeline ran, and its answer was stored.
    Stored,
    /// The pipeline ran; its answer was not stored.
    NotStored(NotStored),
    /// The cache was not asked.
    Bypass(Bypass),
}

/// Why an answer was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// It was made from a part of the request outside of its key.
    ReadOutsideKey,
    /// The policy said so.
    Policy,
    /// The policy failed.
    PolicyFailed,
    /// The policy names no tier that there is.
    Tiers,
    /// It is larger than an entry may be.
    TooLarge,
    /// It was made from more than a read set can hold.
    TooManyReads,
    /// What it was made from was written to meanwhile.
    Changed,
    /// An answer under this key was not stored a moment ago.
    Uncacheable,
    /// The flight that it would have followed had no place, or no answer for it.
    Alone,
}

impl NotStored {
    /// For `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOutsideKey => "read-outside-key",
            Self::Policy => "policy",
            Self::PolicyFailed => "policy-failed",
            Self::Tiers => "tiers",
            Self::TooLarge => "too-large",
            Self::TooManyReads => "too-many-reads",
            Self::Changed => "changed",
            Self::Uncacheable => "uncacheable",
            Self::Alone => "alone",
        }
    }

    /// Whether the next answer under the key will most likely not be stored either.
    pub(super) fn lasts(self) -> bool {
        !matches!(self, Self::Changed | Self::Alone | Self::PolicyFailed)
    }
}

/// Why the cache was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// The pipeline writes.
    Writes,
    /// The pipeline has no policy.
    NoPolicy,
    /// The policy said so, or failed.
    Policy,
}

/// An answer for one client.
#[derive(Clone, Debug)]
pub struct Served {
    /// The answer.
    pub answer: Arc<StoredAnswer>,
    /// The position that it is exact at.
    pub exact_at: Position,
    /// How it was come by.
    pub via: Via,
}

impl StoredAnswer {
    fn of(answer: Answer) -> Self {
        // The status and the content type too: a validator stands for the whole representation.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&answer.status.as_u16().to_le_bytes());
        hasher.update(answer.content_type.as_bytes());
        hasher.update(b"\0");
        hasher.update(&answer.body);
        let hash = hasher.finalize().to_hex();
        let mut etag = [b'"'; ETAG_BYTES];
        etag[1..ETAG_BYTES - 1].copy_from_slice(&hash.as_bytes()[..ETAG_BYTES - 2]);
        Self {
            status: answer.status,
            content_type: answer.content_type,
            headers: answer.headers,
            etag,
            body: answer.body,
        }
    }

    /// The strong validator.
    #[must_use]
    pub fn etag(&self) -> HeaderValue {
        // Hex between quotes: never refused.
        HeaderValue::from_bytes(&self.etag).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

impl Run {
    /// The answer, ready to be sent and kept, and how a policy sees it.
    pub(super) fn made(&self) -> Result<(Arc<StoredAnswer>, Outcome), RunError> {
        let answer = self.outcome.as_ref().map_err(Clone::clone)?;
        let header = |(name, value): &(HeaderName, HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        let outcome = Outcome {
            status: answer.status.as_u16(),
            headers: answer.headers.iter().map(header).collect(),
            body_bytes: answer.body.len() as u64,
            compute: self.compute,
            reads: self.reads.clone(),
        };
        Ok((Arc::new(StoredAnswer::of(answer.clone())), outcome))
    }
}
