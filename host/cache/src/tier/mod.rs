//! The shared tier: entries outside this process, which survive it.
//!
//! [`SharedTier`] is what callers use. It closes records into [envelopes](crate::envelope), writes
//! them in the background through a bounded queue, and opens what it finds, within a time budget. An
//! [`EnvelopeStore`] keeps them: [`disk`] for one node, [`redis`] for several. A
//! [`Guard`](weir_limits::guard::Guard) stands before it.
//!
//! Nothing that a store returns is trusted: it may lose, repeat, delay and forge everything, and
//! the worst that follows is a [`Miss`].
//!
//! Out of scope: whether a record may be served, which depends on what has changed since.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use weir_limits::guard::BackendError;

use crate::CacheKey;
use crate::encoding::DecodeError;
use crate::envelope::OpenError;

pub mod disk;
#[cfg(test)]
mod mutants;
pub mod redis;
mod shared;
#[cfg(test)]
mod testing;

pub use self::shared::{Limits, SharedTier};

/// A store of envelopes by key. It may evict whatever it wants.
#[async_trait]
pub trait EnvelopeStore: Send + Sync {
    /// The envelope under this key.
    ///
    /// # Errors
    /// The store cannot answer.
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// The envelopes under these keys, in their order.
    ///
    /// # Errors
    /// The store cannot answer for one of them.
    async fn get_all(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut envelopes = Vec::with_capacity(keys.len());
        for key in keys {
            envelopes.push(self.get(key).await?);
        }
        Ok(envelopes)
    }

    /// Stores envelopes, and replaces those that their keys had. Readers see them when this returns;
    /// they are not durable yet.
    ///
    /// # Errors
    /// The store cannot store them. Some may be stored.
    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError>;

    /// Makes durable what was stored.
    ///
    /// # Errors
    /// The store cannot.
    async fn flush(&self) -> Result<(), StoreError>;

    /// How much it holds, as far as it knows without asking anybody. Does not block.
    fn contents(&self) -> Option<Contents> {
        None
    }

    /// Releases what the store holds, after a last flush. Nothing follows. Several tiers can share a store:
    /// whoever opened it closes it, after all of them.
    async fn close(&self);
}

/// An envelope to store.
#[derive(Debug)]
pub struct Envelope {
    /// Its key.
    pub key: CacheKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// For how long it is worth keeping.
    pub ttl: Duration,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many envelopes.
    pub entries: u64,
    /// What they take of what the store may take.
    pub bytes: u64,
}

/// Why a store did not do what it was asked. The texts are for people.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It does not work now.
    #[error("{0}")]
    Unavailable(String),
    /// It did not answer in the time that it is given.
    #[error("{0}")]
    TimedOut(String),
    /// It works, and refuses this call.
    #[error("{0}")]
    Refused(String),
}

impl BackendError for StoreError {
    fn is_outage(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }
}

/// Why there was no entry in the shared tier that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// There is none under the key.
    Absent,
    /// The store did not answer within the budget.
    TooSlow,
    /// The store failed.
    Failed,
    /// The store was not asked, because most calls to it have failed.
    Open,
    /// The store was not asked, because too many calls to it are in progress.
    Crowded,
    /// What it returned was no envelope of this truth for this key.
    Envelope(OpenError),
    /// The envelope's content is not a record of this release.
    Record(DecodeError),
    /// Its ttl has passed.
    Expired,
    /// It was made at a position of a history that is not this truth's, or no longer known.
    OtherHistory,
    /// It was made at a position that this node has not applied yet.
    Ahead,
    /// Something that it read has changed since, or may have.
    Changed,
    /// It is from before the position that the request demands.
    TooOld,
}

impl Miss {
    /// The reason, as metrics show it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::TooSlow => "too-slow",
            Self::Failed => "failed",
            Self::Open => "open",
            Self::Crowded => "crowded",
            Self::Envelope(OpenError::NotAnEnvelope) => "not-an-envelope",
            Self::Envelope(OpenError::Version { .. }) => "version",
            Self::Envelope(OpenError::OtherTruth) => "other-truth",
            Self::Envelope(OpenError::OtherKey) => "other-key",
            Self::Envelope(OpenError::Forged) => "forged",
            Self::Envelope(OpenError::TooLarge { .. }) => "too-large",
            Self::Envelope(OpenError::Damaged) | Self::Record(_) => "damaged",
            Self::Expired => "expired",
            Self::OtherHistory => "other-history",
            Self::Ahead => "ahead",
            Self::Changed => "changed",
            Self::TooOld => "too-old",
        }
    }
}
