//! Pipelines: loaded once, and run with a fresh store for each request.
//!
//! [`load`] turns a component and its grants into a [`Pipeline`]. A [`Runner`] runs it for
//! a tenant, which results in an [`answer`] or an [`error`]. [`latencies`] are how long its requests
//! took, and [`cors`] is which web pages may call it. Out of scope: whether to run it at all,
//! which the cache decides (`answers`), what its imports do (`capability`), and which pipeline
//! serves a name (`deploy`).

pub mod answer;
pub mod canary;
pub mod config;
pub mod cors;
mod counters;
pub mod error;
mod invoke;
pub mod latencies;
pub mod load;
mod runner;

pub use answer::Answer;
pub use error::RunError;
pub use latencies::Outcome;
pub use load::Pipeline;
pub use runner::{Run, Runner};
