//! Cache policies: decisions without imports, so that the same input gives the same decision on
//! every node.
//!
//! [`Planning`] is required. Its plan is compiled to native code when the policy is loaded: a
//! policy without other hooks runs no guest code on a hit.
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
//! A key cannot be too small. Of the body, the pipeline receives the fields that the key names, in
//! the form that was hashed, and no others. An answer made from another part of the request, such
//! as a header that is not in the key, is neither stored nor shared.
//!
//! The other hooks run in the sandbox: [`Keying`] on every request, to tell apart requests that
//! the plan does not, and [`Admission`] on every answer, to decide whether to store it. Name those
//! that the policy implements: `weir_sdk::policy!(ByQuestion: Planning + Admission);`. If a policy
//! traps or fails, the cache is bypassed.
//!
//! The WIT has more fields than this module: those that the host does not use yet are left out
//! here, so that nothing that a policy sets is ignored.

mod plan;
mod view;

pub use plan::{KeyPart, KeyPlan, Lifetime, Source, Storage, Timeouts, Transform};
pub use view::{Outcome, Read, RequestView};

/// The names and values that the operator set.
pub type Settings = Vec<(String, String)>;

/// What the key is made of, and how answers are stored.
pub trait Planning {
    /// Called when the policy is loaded.
    ///
    /// # Errors
    /// What is wrong with the settings, for people to read. The policy is not loaded.
    fn plan(settings: Settings) -> Result<KeyPlan, String>;
}

/// Adds to the key of each request, at the cost of running the policy on every request.
pub trait Keying {
    /// Called before the lookup.
    fn key(request: RequestView) -> KeyDecision;
}

/// Decides which answers are stored.
pub trait Admission {
    /// Called for every answer that could be stored, of any status.
    fn admit(request: RequestView, outcome: Outcome) -> StoreDecision;
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDecision {
    /// Look it up by the plan's parts and then these, at most 64.
    Lookup(Vec<String>),
    /// Neither look it up nor store its answer. The reason is for people to read.
    Bypass(String),
}

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreDecision {
    /// Store it like this.
    Store(Storage),
    /// Do not store it. The reason is for people to read.
    DoNotStore(String),
}

/// Makes the named type the component's policy: `policy!(Mine)` for [`Planning`] alone,
/// `policy!(Mine: Planning + Keying + Admission)` for more hooks. Use it once in a crate.
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
        const _: () = {
            use $crate::bindings::planning as bindings;

            struct Exported;

            impl bindings::exports::weir::policy::planning::Guest for Exported {
                fn plan(
                    settings: $crate::policy::Settings,
                ) -> Result<bindings::weir::policy::types::KeyPlan, String> {
                    <$policy as $crate::policy::Planning>::plan(settings).map(Into::into)
                }
            }

            bindings::export_planning!(Exported with_types_in $crate::bindings::planning);
        };
    };
    (@Keying $policy:ident) => {
        const _: () = {
            use $crate::bindings::keying::exports::weir::policy::keying as bindings;
            use $crate::bindings::planning::weir::policy::types;

            struct Exported;

            impl bindings::Guest for Exported {
                fn key(request: types::RequestView) -> bindings::Decision {
                    <$policy as $crate::policy::Keying>::key(request.into()).into()
                }
            }

            $crate::bindings::keying::export_keying!(
                Exported with_types_in $crate::bindings::keying
            );
        };
    };
    (@Admission $policy:ident) => {
        const _: () = {
            use $crate::bindings::admission::exports::weir::policy::admission as bindings;
            use $crate::bindings::planning::weir::policy::types;

            struct Exported;

            impl bindings::Guest for Exported {
                fn admit(
                    request: types::RequestView,
                    outcome: types::Outcome,
                ) -> bindings::Decision {
                    <$policy as $crate::policy::Admission>::admit(request.into(), outcome.into())
                        .into()
                }
            }

            $crate::bindings::admission::export_admission!(
                Exported with_types_in $crate::bindings::admission
            );
        };
    };
}

mod decisions {
    use super::{KeyDecision, StoreDecision};
    use crate::bindings::admission::exports::weir::policy::admission;
    use crate::bindings::keying::exports::weir::policy::keying;

    impl From<KeyDecision> for keying::Decision {
        fn from(decision: KeyDecision) -> Self {
            match decision {
                KeyDecision::Lookup(parts) => Self::Lookup(parts),
                KeyDecision::Bypass(reason) => Self::Bypass(reason),
            }
        }
    }

    impl From<StoreDecision> for admission::Decision {
        fn from(decision: StoreDecision) -> Self {
            match decision {
                StoreDecision::Store(storage) => Self::Store(storage.into()),
                StoreDecision::DoNotStore(reason) => Self::DoNotStore(reason),
            }
        }
    }
}
