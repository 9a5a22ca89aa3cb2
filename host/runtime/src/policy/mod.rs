//! Cache policies: what a key is made of, how long an answer lives, and whether it is kept.
//!
//! [`plan`] is a policy's plan compiled to native extractors, which is all that a hit runs;
//! [`component`] asks the sandbox, and only for the hooks that the policy exports;
//! A policy that fails means *bypass the cache*: a stand-in
//! could share what the policy kept apart. Out of scope: lookup and storage
//! (`answers`).

pub mod component;
pub mod config;
pub mod plan;

pub use component::{Admission, Keying, Policy, PolicyError};
pub use plan::Plan;
