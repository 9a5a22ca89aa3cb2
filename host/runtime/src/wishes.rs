//! What clients ask of the cache (`Cache-Control` of a request, RFC 9111), as far as the operator of a
//! pipeline allows it: a request that wants a new answer costs a run, so it is also an attack.
//!
//! Out of scope: the header's syntax (`weir-server`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

/// A directive that clients may be allowed to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directive {
    /// A new answer.
    NoCache,
    /// An answer that is not stored.
    NoStore,
    /// An answer that is not older than this.
    MaxAge,
    /// No run: an answer from the cache, or none.
    OnlyIfCached,
}

/// The directives that the clients of a pipeline may use. Others are ignored.
pub type Allowed = BTreeSet<Directive>;

/// What one client wants of the cache. By default nothing in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// How old the answer may be.
    pub freshness: Freshness,
    /// Do not store it.
    pub no_store: bool,
    /// Do not run the pipeline.
    pub only_if_cached: bool,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As old as its policy allows.
    #[default]
    Any,
    /// Made at most so long ago.
    Within(Duration),
    /// Made for this request.
    New,
}

impl Freshness {
    /// Whether an answer of this age will do.
    #[must_use]
    pub fn allows(self, age: Duration) -> bool {
        match self {
            Self::Any => true,
            Self::Within(most) => age <= most,
            Self::New => false,
        }
    }
}
