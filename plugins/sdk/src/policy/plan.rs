//! What a policy decides once.

use crate::bindings::planning::weir::policy::types as wit;

/// What a policy decides once: the parts of the key, and how answers are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPlan {
    /// A changed epoch starts a fresh key space.
    pub key_epoch: u32,
    /// 1 to 32 parts.
    pub key: Vec<KeyPart>,
    /// How answers of status 200 are stored, unless the policy exports `Admission`.
    pub storage: Storage,
}

impl KeyPlan {
    /// A plan with key epoch 0. Add the key with [`part`](KeyPlan::part): the host refuses a plan
    /// without parts.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self { key_epoch: 0, key: Vec::new(), storage }
    }

    /// Adds a part of the key. The transforms are applied in order.
    #[must_use]
    pub fn part(mut self, source: Source, transforms: impl IntoIterator<Item = Transform>) -> Self {
        self.key.push(KeyPart { source, transforms: transforms.into_iter().collect() });
        self
    }
}

/// A part of the key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPart {
    /// Where it comes from.
    pub source: Source,
    /// Applied in order.
    pub transforms: Vec<Transform>,
}

/// Where a part of the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The whole body, as canonical JSON. Takes no transforms, and excludes `JsonField`.
    Body,
    /// A JSON Pointer (RFC 6901) to a member of an object. Absent differs from null.
    JsonField(String),
    /// The first value of a header. Absent differs from empty.
    Header(String),
    /// The first value of a query parameter. Absent differs from empty.
    QueryParameter(String),
}

/// How a part of the key is normalized. The pipeline receives the normalized form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Removes white space from both ends of a string.
    Trim,
    /// Turns a string into lower case, by Unicode.
    Lowercase,
    /// Turns each run of white space into one space, and removes it from both ends.
    CollapseWhitespace,
    /// Sorts the elements of a JSON list, or those between commas.
    SortList,
    /// Rounds a number to this many digits after the decimal point.
    RoundToDigits(u8),
}

/// How an answer is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// How long it is kept in the memory of this node; `None` means that it is not.
    pub memory: Option<Lifetime>,
    /// How long it is kept in the tier behind the memory, which survives restarts; `None` means that
    /// it is not.
    pub shared: Option<Lifetime>,
    /// Names that it can be invalidated by, in addition to what it read.
    pub tags: Vec<String>,
}

impl Storage {
    /// Kept in memory for `ttl_ms`, without tags.
    #[must_use]
    pub fn memory(ttl_ms: u64) -> Self {
        Self { memory: Some(Lifetime::fresh(ttl_ms)), shared: None, tags: Vec::new() }
    }

    /// Kept in both tiers for `ttl_ms`, without tags.
    #[must_use]
    pub fn both_tiers(ttl_ms: u64) -> Self {
        Self::memory(ttl_ms).shared_for(ttl_ms)
    }

    /// Also kept in the shared tier, for `ttl_ms`.
    #[must_use]
    pub fn shared_for(self, ttl_ms: u64) -> Self {
        Self { shared: Some(Lifetime::fresh(ttl_ms)), ..self }
    }
}

/// How long a tier keeps an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    ttl_ms: u64,
    jitter_percent: u8,
}

impl Lifetime {
    /// Fresh for `ttl_ms`, from 1 to a year, and never served after that.
    #[must_use]
    pub fn fresh(ttl_ms: u64) -> Self {
        Self { ttl_ms, jitter_percent: 0 }
    }

    /// Shortens the ttl of each entry by up to this much, 0 to 100, so that entries made together
    /// do not expire together.
    #[must_use]
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// How long an answer stays fresh, in milliseconds.
    #[must_use]
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }
}

impl From<KeyPlan> for wit::KeyPlan {
    fn from(plan: KeyPlan) -> Self {
        Self {
            key_epoch: plan.key_epoch,
            key: plan.key.into_iter().map(Into::into).collect(),
            storage: plan.storage.into(),
            timeouts: wit::Timeouts { soft_ms: None, hard_ms: None },
            failure_ttl_ms: None,
        }
    }
}

impl From<KeyPart> for wit::KeyPart {
    fn from(part: KeyPart) -> Self {
        let source = match part.source {
            Source::Body => wit::Source::Body,
            Source::JsonField(pointer) => wit::Source::JsonField(pointer),
            Source::Header(name) => wit::Source::Header(name),
            Source::QueryParameter(name) => wit::Source::QueryParameter(name),
        };
        Self { source, transforms: part.transforms.into_iter().map(Into::into).collect() }
    }
}

impl From<Transform> for wit::Transform {
    fn from(transform: Transform) -> Self {
        match transform {
            Transform::Trim => Self::Trim,
            Transform::Lowercase => Self::Lowercase,
            Transform::CollapseWhitespace => Self::CollapseWhitespace,
            Transform::SortList => Self::SortList,
            Transform::RoundToDigits(digits) => Self::RoundToDigits(digits),
        }
    }
}

impl From<Storage> for wit::Storage {
    fn from(storage: Storage) -> Self {
        Self {
            memory: storage.memory.map(Into::into),
            shared: storage.shared.map(Into::into),
            tags: storage.tags,
        }
    }
}

impl From<Lifetime> for wit::Lifetime {
    fn from(lifetime: Lifetime) -> Self {
        Self {
            ttl_ms: lifetime.ttl_ms,
            jitter_percent: lifetime.jitter_percent,
            refresh_after_ms: None,
            stale_while_revalidate_ms: None,
            stale_if_error_ms: None,
            stale_after_change_ms: None,
        }
    }
}
