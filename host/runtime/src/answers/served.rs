//! The result of serving a request: an answer, where it came from, and the position that it is
//! exact at.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use weir_cache::usage::holding::Held;

use super::made::Origin;
use crate::deploy::Deployment;
use crate::deploy::tally::Ended as Tallied;
use crate::pipeline::{Answer, Outcome as Ended, Run, RunError};
use crate::policy::component::Outcome;
use crate::request::PartsRead;
use crate::tenant::reading::Stated;

/// 128 bits in hexadecimal, in quotes.
pub(super) const ETAG_BYTES: usize = 34;

/// A pipeline's answer, ready to send: what the tiers store and what clients get.
#[derive(Debug)]
pub struct StoredAnswer {
    /// The status.
    pub status: StatusCode,
    /// The content type.
    pub content_type: HeaderValue,
    /// The other headers that the pipeline set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A strong validator: hexadecimal in quotes. Stored inline, because a `HeaderValue` would
    /// be one more heap allocation that a hit has to read.
    pub(super) etag: [u8; ETAG_BYTES],
    /// The body.
    pub body: Bytes,
    /// The parts of the request that were read to make it; `None` if another process has made it.
    pub(super) parts: Option<Arc<PartsRead>>,
    /// Set while it is in the memory tier, or was, for its deployment's tally.
    pub(super) held: OnceLock<Held>,
}

/// Where an answer came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// From the memory tier.
    Hit {
        /// Time since it was stored.
        age: Duration,
        /// Time until it expires.
        ttl_left: Duration,
    },
    /// From the shared tier.
    SharedHit {
        /// Time since it was stored.
        age: Duration,
        /// Time until it expires.
        ttl_left: Duration,
    },
    /// From the memory tier, although it is old.
    Stale {
        /// Time since it was stored.
        age: Duration,
        /// Time until it expires; zero if it has.
        ttl_left: Duration,
        /// Time since it expired; zero if it has not.
        overdue: Duration,
        /// Why it was served.
        reason: Stale,
    },
    /// From another request's run that was already in progress.
    Collapsed,
    /// The pipeline ran, and its answer was stored.
    Stored,
    /// The pipeline ran, and its answer was not stored.
    NotStored(NotStored),
    /// The cache was not used.
    Bypass(Bypass),
}

/// Why an old answer was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Its ttl has passed, and a new one is being made.
    WhileRevalidate,
    /// Its ttl has passed, and a new one could not be made, or not soon enough.
    IfError,
    /// Something that it read has changed, and a new one is being made.
    AfterChange,
}

impl Stale {
    /// The reason as `Cache-Status` and metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhileRevalidate => "stale-while-revalidate",
            Self::IfError => "stale-if-error",
            Self::AfterChange => "stale-after-change",
        }
    }
}

/// Why an answer was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// It depends on a part of the request outside its key, on a clock or on random numbers.
    ReadOutsideKey,
    /// The policy decided so.
    Policy,
    /// The policy failed.
    PolicyFailed,
    /// No slot was free to ask the policy.
    PolicyBusy,
    /// The policy names no tier that exists.
    Tiers,
    /// It is larger than an entry may be.
    TooLarge,
    /// It depends on more than a read set can hold.
    TooManyReads,
    /// What it depends on changed while the pipeline ran.
    Changed,
    /// It was made in spite of a host call that was unavailable, timed out or failed.
    Degraded,
    /// It has a position of its own for each collection.
    Split,
    /// Another answer under this key could not be stored a short time ago.
    Uncacheable,
    /// The flights were full, or none that the request joined had an answer for it.
    Alone,
    /// The client asked for it.
    Asked,
}

impl NotStored {
    /// The reason as `Cache-Status` shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOutsideKey => "read-outside-key",
            Self::Policy => "policy",
            Self::PolicyFailed => "policy-failed",
            Self::PolicyBusy => "policy-busy",
            Self::Tiers => "tiers",
            Self::TooLarge => "too-large",
            Self::TooManyReads => "too-many-reads",
            Self::Changed => "changed",
            Self::Degraded => "degraded",
            Self::Split => "split",
            Self::Uncacheable => "uncacheable",
            Self::Alone => "alone",
            Self::Asked => "no-store",
        }
    }

    /// Whether the next answer under the key will most likely not be stored either.
    pub(super) fn lasts(self) -> bool {
        !matches!(
            self,
            Self::Changed
                | Self::Alone
                | Self::Asked
                | Self::PolicyFailed
                | Self::PolicyBusy
                | Self::Degraded
                | Self::Split
        )
    }
}

/// Why the cache was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// The pipeline writes.
    Writes,
    /// The pipeline has no policy.
    NoPolicy,
    /// The policy decided so, or failed.
    Policy,
}

impl Bypass {
    /// The reason as `Cache-Status` shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::NoPolicy => "no-policy",
            Self::Policy => "policy",
        }
    }
}

/// An answer for one client.
#[derive(Clone, Debug)]
pub struct Served {
    /// The answer.
    pub answer: Arc<StoredAnswer>,
    /// The position that it is exact at.
    pub stated: Stated,
    /// Whether what the pipeline wrote is searchable, if it wrote.
    pub searchable: Option<bool>,
    /// Where it came from.
    pub via: Via,
    /// What it was made from.
    pub(super) origin: Origin,
}

impl Served {
    /// The time since the answer was made; zero if it was made for this request, or just now.
    #[must_use]
    pub fn age(&self) -> Duration {
        match self.via {
            Via::Hit { age, .. } | Via::SharedHit { age, .. } | Via::Stale { age, .. } => age,
            Via::Collapsed | Via::Stored | Via::NotStored(_) | Via::Bypass(_) => Duration::ZERO,
        }
    }
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Why there is none.
    pub error: RunError,
    /// Whether an old answer may be served instead.
    pub(super) may_be_covered: bool,
    /// The position at which the pipeline would fail like this, if it was the pipeline that did.
    pub stated: Option<Stated>,
    /// Set if the pipeline was not run, because it has failed before.
    pub kept: Option<Kept>,
}

/// A run that failed, for all who asked for it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: RunError,
    pub(super) may_be_covered: bool,
}

/// How long a failure has been kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Time since the pipeline failed.
    pub age: Duration,
    /// Time until it is run again.
    pub ttl_left: Duration,
}

/// How a request ended, for its pipeline's latencies.
pub(super) fn outcome(served: &Result<Served, Failed>) -> Ended {
    match served {
        Ok(served) => match served.via {
            Via::Stale { reason: Stale::IfError, .. } => Ended::Miss,
            Via::Hit { .. } | Via::SharedHit { .. } | Via::Stale { .. } => Ended::Hit,
            Via::Collapsed => Ended::Collapsed,
            Via::Stored | Via::NotStored(_) => Ended::Miss,
            Via::Bypass(_) => Ended::Bypass,
        },
        Err(failed) if failed.error.is_refusal() => Ended::Refused,
        Err(_) => Ended::Failed,
    }
}

/// How a request ended that was no hit at first, for its deployment's tally. `None` if it was a hit after
/// all, which is counted where it is found.
pub(super) fn ended(served: &Result<Served, Failed>) -> Option<Tallied> {
    Some(match served {
        Ok(served) => match served.via {
            Via::Hit { .. } | Via::Bypass(_) => return None,
            Via::SharedHit { .. } => Tallied::SharedHit,
            Via::Stale { reason, .. } => Tallied::Stale(reason.as_str()),
            Via::Collapsed => Tallied::Collapsed,
            Via::Stored => Tallied::Ran { not_stored: None },
            Via::NotStored(reason) => Tallied::Ran { not_stored: Some(reason.as_str()) },
        },
        Err(failed) => Tallied::Failed(failed.reason()),
    })
}

impl From<Failure> for Failed {
    fn from(Failure { error, may_be_covered }: Failure) -> Self {
        Self { error, may_be_covered, stated: None, kept: None }
    }
}

impl Failed {
    /// Why there is no answer, in a word.
    pub(super) fn reason(&self) -> &'static str {
        if self.kept.is_some() { "kept" } else { self.error.label() }
    }

    /// The same for others who asked for the same run.
    pub(super) fn for_others(&self) -> Failure {
        Failure { error: self.error.clone(), may_be_covered: self.may_be_covered }
    }
}

impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        Self { may_be_covered: error.may_be_covered(), error, stated: None, kept: None }
    }
}

impl Failed {
    /// A failure of the pipeline at this position.
    pub(super) fn at(self, stated: impl FnOnce() -> Stated) -> Self {
        let stated = matches!(self.error, RunError::Failure { .. }).then(stated);
        Self { stated, ..self }
    }
}

impl StoredAnswer {
    fn of(answer: Answer, parts: &Arc<PartsRead>) -> Self {
        // Also the status and the content type: the same body can be another representation.
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
            parts: Some(Arc::clone(parts)),
            held: OnceLock::new(),
        }
    }

    /// Counts it among the answers of `deployment` in memory, where it takes so many bytes.
    pub(super) fn hold(&self, deployment: &Deployment, bytes: u32) {
        self.held.get_or_init(|| Held::new(&deployment.tally.holding, bytes));
    }

    /// The strong validator.
    #[must_use]
    pub fn etag(&self) -> HeaderValue {
        // Hexadecimal in quotes is always a valid header value.
        HeaderValue::from_bytes(&self.etag).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

impl Run {
    /// The answer for the client that the run was for.
    pub(super) fn served(&self, answer: Arc<StoredAnswer>, via: Via) -> Served {
        let (stated, origin) = (self.stated.clone(), Origin::Unknown);
        Served { answer, stated, searchable: self.searchable, via, origin }
    }

    /// The failure for the client that the run was for.
    pub(super) fn failed(&self, failure: Failure) -> Failed {
        Failed::from(failure).at(|| self.stated.clone())
    }

    /// The answer, ready to be sent and stored, and the policy's view of it.
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
        Ok((Arc::new(StoredAnswer::of(answer.clone(), &self.parts)), outcome))
    }
}
