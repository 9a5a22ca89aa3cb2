//! Cache policies: what a key contains, how long an answer lives, and whether it is stored.
//!
//! [`plan`] compiles a policy's plan to native extractors. [`component`] runs the policy's
//! component in a [`sandbox`], only for the hooks that it exports: with `keying`, also for a hit, with
//! [`failures`] when the pipeline fails, with [`changes`] when documents change. [`apart`] asks one that is tried
//! in shadow. If a policy
//! fails, the request bypasses the cache or its answer is not stored; a fallback policy could
//! share answers that the real one keeps apart. Out of scope: lookup and storage (`answers`).

pub mod apart;
mod changes;
pub mod component;
pub mod config;
mod error;
mod failures;
pub mod plan;
mod sandbox;

pub use component::{Admission, Keying, Policy};
pub use error::PolicyError;
pub use failures::Aftermath;
pub use plan::Plan;
