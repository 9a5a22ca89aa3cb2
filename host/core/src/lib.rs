//! The types that all of Weir's crates share: validated [names](name) and [patterns](pattern)
//! of names, the [`Position`] of a [`Commit`], the [digest] of a plugin, and the
//! [canonical form of JSON](json) that keys are made of.
//!
//! Out of scope: anything that has a lifecycle. This crate has no state, no I/O and no async, but
//! for the [`fault`] and the [`crash`] that a test build has.

pub mod crash;
pub mod digest;
pub mod fault;
pub mod json;
pub mod name;
pub mod pattern;
mod position;

pub use position::{Chain, ChainError, Commit, Position};
