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
    /// How long requests wait for the pipeline.
    pub timeouts: Timeouts,
    /// How long a failure of the pipeline is kept and given to later requests, in milliseconds: up to
    /// a day, and until something changes that it read. `None` is not at all.
    pub failure_ttl_ms: Option<u64>,
}

/// How long requests wait for the pipeline, each in milliseconds; `None` is up to the pipeline's
/// deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// While there is an answer that [`Lifetime::stale_if_error_ms`] allows to be served.
    pub soft_ms: Option<u64>,
    /// If there is not.
    pub hard_ms: Option<u64>,
}

impl KeyPlan {
    /// A plan with key epoch 0. Add the key with [`part`](KeyPlan::part): the host refuses a plan
    /// without parts.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            key_epoch: 0,
            key: Vec::new(),
            storage,
            timeouts: Timeouts::default(),
            failure_ttl_ms: None,
        }
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

    /// Changes the lifetime in each tier that it is kept in.
    #[must_use]
    pub fn in_each_tier(self, change: impl Fn(Lifetime) -> Lifetime) -> Self {
        Self { memory: self.memory.map(&change), shared: self.shared.map(&change), ..self }
    }
}

/// How long a tier keeps an answer, and what it may do with an old one. All times are in milliseconds.
/// Stale answers are marked in `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    ttl_ms: u64,
    jitter_percent: u8,
    refresh_after_ms: Option<u64>,
    early_refresh_percent: u16,
    stale_while_revalidate_ms: Option<u64>,
    stale_if_error_ms: Option<u64>,
    stale_after_change_ms: Option<u64>,
}

impl Lifetime {
    /// Fresh for `ttl_ms`, from 1 to a year, and never served after that or after a change.
    #[must_use]
    pub fn fresh(ttl_ms: u64) -> Self {
        Self {
            ttl_ms,
            jitter_percent: 0,
            refresh_after_ms: None,
            early_refresh_percent: 0,
            stale_while_revalidate_ms: None,
            stale_if_error_ms: None,
            stale_after_change_ms: None,
        }
    }

    /// Shortens the ttl of each entry by up to this much, 0 to 100, so that entries made together
    /// do not expire together.
    #[must_use]
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// From this age on, which is less than the ttl, a hit also has a new answer made in the
    /// background.
    #[must_use]
    pub fn refresh_after_ms(mut self, age_ms: u64) -> Self {
        self.refresh_after_ms = Some(age_ms);
        self
    }

    /// Has some hits make a new answer before the ttl ends, the likelier the longer it takes to make and
    /// the less is left. 100 is the optimum of XFetch (Vattani et al., 2015), more is earlier, and 0
    /// is not at all.
    #[must_use]
    pub fn early_refresh_percent(mut self, percent: u16) -> Self {
        self.early_refresh_percent = percent;
        self
    }

    /// Allows an answer to be served for so long after its ttl while a new one is made.
    #[must_use]
    pub fn stale_while_revalidate_ms(mut self, ms: u64) -> Self {
        self.stale_while_revalidate_ms = Some(ms);
        self
    }

    /// Allows an answer to be served for so long after its ttl when a new one cannot be made.
    #[must_use]
    pub fn stale_if_error_ms(mut self, ms: u64) -> Self {
        self.stale_if_error_ms = Some(ms);
        self
    }

    /// Allows an answer to be served for so long after the first change to something that it read. It
    /// states its own, older position.
    #[must_use]
    pub fn stale_after_change_ms(mut self, ms: u64) -> Self {
        self.stale_after_change_ms = Some(ms);
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
            timeouts: plan.timeouts.into(),
            failure_ttl_ms: plan.failure_ttl_ms,
        }
    }
}

impl From<Timeouts> for wit::Timeouts {
    fn from(Timeouts { soft_ms, hard_ms }: Timeouts) -> Self {
        Self { soft_ms, hard_ms }
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
            refresh_after_ms: lifetime.refresh_after_ms,
            early_refresh_percent: lifetime.early_refresh_percent,
            stale_while_revalidate_ms: lifetime.stale_while_revalidate_ms,
            stale_if_error_ms: lifetime.stale_if_error_ms,
            stale_after_change_ms: lifetime.stale_after_change_ms,
        }
    }
}
