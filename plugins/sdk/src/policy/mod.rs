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
//! the plan does not, [`Admission`] on every answer, to decide whether to store it, [`Failures`] on
//! every failure of the pipeline, to decide what follows, and [`Changes`] on every change of a
//! collection, to end answers that did not read what changed. Name those that the policy implements:
//! `weir_sdk::policy!(ByQuestion: Planning + Admission);`. If a policy traps or fails, nothing is
//! served that a decision of it could have ruled out.
//!
//! The WIT has more fields than this module: those that the host does not use yet are left out
//! here, so that nothing that a policy sets is ignored.

mod plan;
mod view;

pub use plan::{KeyPart, KeyPlan, Lifetime, Source, Storage, Timeouts, Transform};
pub use view::{Change, FailedRun, FailureKind, Outcome, Read, RequestView};

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

/// Decides what follows a failure of the pipeline.
pub trait Failures {
    /// Called for every run that fails. A request that was refused, because slots or memory were used
    /// up or for its position, has not failed.
    fn follow(request: RequestView, failure: FailedRun) -> Aftermath;
}

/// Has a say in what a change ends besides the answers that were made from what changed.
pub trait Changes {
    /// Called with changes of one collection, at most 1,000, in their order, before anybody can see
    /// them. Returns the tags, at most 1,000, whose answers end: those that this policy has stored
    /// under them, and that were made before the changes.
    ///
    /// If it traps or fails, everything ends that was kept for the pipelines with this policy. What it
    /// returned is forgotten when the server restarts, so what they had kept then ends if anything at
    /// all has changed since.
    fn end(collection: String, changes: Vec<Change>) -> Vec<String>;
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

/// What follows a failure of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aftermath {
    /// Whether requests may get an old answer instead, if there is one whose lifetime allows it with
    /// [`stale_if_error_ms`](Lifetime::stale_if_error_ms). Never in place of a failure that says that
    /// the request is wrong.
    pub serve_stale: bool,
    /// How long the failure is kept, in place of the plan's
    /// [`failure_ttl_ms`](KeyPlan::failure_ttl_ms), in milliseconds; at most a day.
    pub keep_ms: Option<u64>,
}

/// Makes the named type the component's policy: `policy!(Mine)` for [`Planning`] alone,
/// `policy!(Mine: Planning + Keying + Admission)`, also with `Failures` and `Changes`, for more hooks. Use it once in a crate.
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
    (@Failures $policy:ident) => {
        const _: () = {
            use $crate::bindings::failures::exports::weir::policy::failures as bindings;
            use $crate::bindings::planning::weir::policy::types;

            struct Exported;

            impl bindings::Guest for Exported {
                fn follow(
                    request: types::RequestView,
                    failure: types::Failure,
                ) -> bindings::Decision {
                    <$policy as $crate::policy::Failures>::follow(request.into(), failure.into())
                        .into()
                }
            }

            $crate::bindings::failures::export_failures!(
                Exported with_types_in $crate::bindings::failures
            );
        };
    };
    (@Changes $policy:ident) => {
        const _: () = {
            use $crate::bindings::changes::exports::weir::policy::changes as bindings;
            use $crate::bindings::planning::weir::policy::types;

            struct Exported;

            impl bindings::Guest for Exported {
                fn end(collection: String, changes: Vec<types::Change>) -> Vec<String> {
                    let changes = changes.into_iter().map(Into::into).collect();
                    <$policy as $crate::policy::Changes>::end(collection, changes)
                }
            }

            $crate::bindings::changes::export_changes!(
                Exported with_types_in $crate::bindings::changes
            );
        };
    };
}

mod decisions {
    use super::{Aftermath, KeyDecision, StoreDecision};
    use crate::bindings::admission::exports::weir::policy::admission;
    use crate::bindings::failures::exports::weir::policy::failures;
    use crate::bindings::keying::exports::weir::policy::keying;

    impl From<Aftermath> for failures::Decision {
        fn from(Aftermath { serve_stale, keep_ms }: Aftermath) -> Self {
            Self { serve_stale, keep_ms }
        }
    }

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
