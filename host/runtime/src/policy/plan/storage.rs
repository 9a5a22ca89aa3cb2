//! How answers are stored, and how long requests wait for them, as a policy says. Out of scope: what an
//! entry does with its lifetime (`weir_cache::lifetime`).

use std::time::Duration;

use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::CacheKey;
use weir_cache::lifetime::Lifetime as OfEntry;
use weir_cache::tag::Tag;
use weir_core::name::Name;

use super::error::{MAX_TAGS, MAX_TTL_MS, PlanError};

/// Where, how long and under which tags an answer is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// How long the memory tier keeps it, if it is stored there.
    pub memory: Option<Lifetime>,
    /// How long the shared tier keeps it, if it is stored there.
    pub shared: Option<Lifetime>,
    /// Tags that the policy adds.
    pub tags: Vec<Tag>,
}

/// The longest that answers live in each tier, whatever they were stored with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// In the memory tier.
    pub memory: OfEntry,
    /// In the shared tier.
    pub shared: OfEntry,
}

/// How long a tier keeps an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The longest that an entry gets.
    pub longest: OfEntry,
    /// The ttl of an entry is shortened by up to this share, so that entries that are stored
    /// together do not expire together.
    pub jitter_percent: u8,
}

/// How long requests wait for an answer; up to the pipeline's deadline if nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// While there is a stale answer that may be served instead.
    pub soft: Option<Duration>,
    /// If there is not.
    pub hard: Option<Duration>,
}

impl Storage {
    /// Compiles the storage that this policy chose for an answer.
    ///
    /// # Errors
    /// A lifetime or a tag is invalid, or there are too many tags.
    pub fn compile(policy: &Name, storage: wit::Storage) -> Result<Self, PlanError> {
        let memory = storage.memory.map(Lifetime::compile).transpose()?;
        let shared = storage.shared.map(Lifetime::compile).transpose()?;
        if storage.tags.len() > MAX_TAGS {
            return Err(PlanError::TooManyTags(storage.tags.len()));
        }
        let tag = |tag: String| Tag::of_policy(policy, &tag).map_err(|_| PlanError::Tag(tag));
        Ok(Self {
            memory,
            shared,
            tags: storage.tags.into_iter().map(tag).collect::<Result<_, _>>()?,
        })
    }
}

impl Storage {
    /// The longest that answers live of which this decides: not at all in a tier where it stores none.
    pub(super) fn longest(&self) -> Longest {
        let longest = |tier: Option<Lifetime>| {
            tier.map_or(OfEntry::of(Duration::ZERO), |lifetime| lifetime.longest)
        };
        Longest { memory: longest(self.memory), shared: longest(self.shared) }
    }
}

impl Longest {
    /// Answers live for as long as they were stored for.
    pub const UNLIMITED: Self = Self { memory: OfEntry::UNLIMITED, shared: OfEntry::UNLIMITED };
}

impl Timeouts {
    /// Compiles what the plan says.
    ///
    /// # Errors
    /// One is zero, or too long.
    pub(super) fn compile(timeouts: wit::Timeouts) -> Result<Self, PlanError> {
        Ok(Self {
            soft: wait("soft-ms", timeouts.soft_ms)?,
            hard: wait("hard-ms", timeouts.hard_ms)?,
        })
    }
}

impl Lifetime {
    fn compile(lifetime: wit::Lifetime) -> Result<Self, PlanError> {
        let wit::Lifetime { ttl_ms, jitter_percent, refresh_after_ms, .. } = lifetime;
        if !(1..=MAX_TTL_MS).contains(&ttl_ms) {
            return Err(PlanError::Ttl(ttl_ms));
        }
        if jitter_percent > 100 {
            return Err(PlanError::Jitter(jitter_percent));
        }
        if let Some(refresh_after_ms) = refresh_after_ms.filter(|after| *after >= ttl_ms) {
            return Err(PlanError::RefreshAfter { refresh_after_ms, ttl_ms });
        }
        let stale = |name, ms| Ok(at_most(name, ms, MAX_TTL_MS)?.unwrap_or_default());
        let longest = OfEntry {
            ttl: Duration::from_millis(ttl_ms),
            refresh_after: refresh_after_ms.map(Duration::from_millis),
            early_refresh_percent: lifetime.early_refresh_percent,
            stale_while_revalidate: stale(
                "stale-while-revalidate-ms",
                lifetime.stale_while_revalidate_ms,
            )?,
            stale_if_error: stale("stale-if-error-ms", lifetime.stale_if_error_ms)?,
            stale_after_change: stale("stale-after-change-ms", lifetime.stale_after_change_ms)?,
        };
        Ok(Self { longest, jitter_percent })
    }

    /// What the entry under this key gets. Its ttl is shortened by a share that depends on the key:
    /// entries that are stored together do not expire together, and a key has the same ttl on every
    /// node.
    #[must_use]
    pub fn of(&self, key: &CacheKey) -> OfEntry {
        let longest = self.longest;
        let share = f64::from(key.as_bytes()[31]) / 255.0 * f64::from(self.jitter_percent) / 100.0;
        let ttl = longest.ttl.mul_f64(1.0 - share).max(Duration::from_millis(1));
        OfEntry { ttl, ..longest }
    }
}

fn wait(name: &'static str, ms: Option<u64>) -> Result<Option<Duration>, PlanError> {
    match ms {
        Some(0) => Err(PlanError::OutOfRange { name, ms: 0, least: 1, most: MAX_TTL_MS }),
        ms => at_most(name, ms, MAX_TTL_MS),
    }
}

/// The time, if there is one and it is not too long.
pub(super) fn at_most(
    name: &'static str,
    ms: Option<u64>,
    most: u64,
) -> Result<Option<Duration>, PlanError> {
    match ms.filter(|ms| *ms > most) {
        Some(ms) => Err(PlanError::OutOfRange { name, ms, least: 0, most }),
        None => Ok(ms.map(Duration::from_millis)),
    }
}
