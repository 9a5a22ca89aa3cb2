//! Cache policies: decisions without imports, so that the same input gives the same answer
//! on every node.
//!
//! [`Planning`] is required. Its plan is compiled to native code when the policy is loaded,
//! and a policy that needs no more costs a hit nothing but hashing:
//!
//! ```
//! use weir_sdk::policy::*;
//!
//! struct ByQuestion;
//!
//! impl Planning for ByQuestion {
//!     fn plan(_settings: Settings) -> Result<KeyPlan, String> {
//!         Ok(KeyPlan::new(Storage::memory(60_000))
//!             .part(Source::JsonField("/query".into()), [Transform::Trim, Transform::Lowercase])
//!             .part(Source::JsonField("/limit".into()), []))
//!     }
//! }
//!
//! weir_sdk::policy!(ByQuestion);
//! # fn main() {}
//! ```
//!
//! A key cannot be too small. Of a body, the pipeline receives the fields that the key names,
//! transformed as they were hashed, and no others; and an answer made from another part of
//! the request, such as a header that is not in the key, is neither kept nor shared.
//!
//! The other hooks run in the sandbox: [`Keying`] on every request, to tell requests apart
//! that the plan does not, and [`Admission`] on every answer, to decide about it. Name those
//! that the policy implements: `weir_sdk::policy!(ByQuestion: Planning + Admission);`. A
//! policy that traps or fails means that the cache is bypassed.

pub use crate::bindings::admission::exports::weir::policy::admission::{
    Decision as StoreDecision, Guest as Admission,
};
pub use crate::bindings::keying::exports::weir::policy::keying::{
    Decision as KeyDecision, Guest as Keying,
};
pub use crate::bindings::planning::exports::weir::policy::planning::Guest as Planning;
pub use crate::bindings::planning::weir::policy::types::{
    KeyPart, KeyPlan, Lifetime, Outcome, Read, RequestView, Source, Storage, Tiers, Transform,
};

/// Names and texts of what the deployment configures.
pub type Settings = Vec<(String, String)>;

/// Makes the named type the component's policy: `policy!(Mine)` for [`Planning`] alone,
/// `policy!(Mine: Planning + Keying + Admission)` for those hooks. Once a crate.
#[macro_export]
macro_rules! policy {
    ($policy:ident) => {
        $crate::policy!($policy: Planning);
    };
    ($policy:ident: Planning $(+ $hook:ident)*) => {
        $crate::policy!(@Planning $policy);
        $($crate::policy!(@$hook $policy);)*
    };
    (@Planning $policy:ident) => {
        $crate::bindings::planning::export_planning!(
            $policy with_types_in $crate::bindings::planning
        );
    };
    (@Keying $policy:ident) => {
        $crate::bindings::keying::export_keying!($policy with_types_in $crate::bindings::keying);
    };
    (@Admission $policy:ident) => {
        $crate::bindings::admission::export_admission!(
            $policy with_types_in $crate::bindings::admission
        );
    };
}

impl KeyPlan {
    /// A plan of key-epoch 0, to which [`part`](KeyPlan::part) adds the key: the host refuses
    /// one without parts.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self { key_epoch: 0, key: Vec::new(), storage }
    }

    /// Adds a part of the key; the transforms are applied in order.
    #[must_use]
    pub fn part(mut self, source: Source, transforms: impl IntoIterator<Item = Transform>) -> Self {
        self.key.push(KeyPart { source, transforms: transforms.into_iter().collect() });
        self
    }
}

impl Storage {
    /// Kept in the memory tier for `ttl_ms`, without tags.
    #[must_use]
    pub fn memory(ttl_ms: u64) -> Self {
        Self { lifetime: Lifetime::fresh(ttl_ms), tiers: Tiers::MEMORY, tags: Vec::new() }
    }

    /// Kept in both tiers for `ttl_ms`, without tags.
    #[must_use]
    pub fn both_tiers(ttl_ms: u64) -> Self {
        Self { tiers: Tiers::MEMORY | Tiers::SHARED, ..Self::memory(ttl_ms) }
    }
}

impl Lifetime {
    /// Fresh for `ttl_ms`, and never served after.
    #[must_use]
    pub fn fresh(ttl_ms: u64) -> Self {
        Self {
            ttl_ms,
            refresh_after_ms: None,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            jitter_percent: 0,
        }
    }
}
