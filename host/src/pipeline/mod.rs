//! Pipelines: loaded once, called with a fresh store for each request.
//!
//! [`load`] turns a component and its grants into a [`Deployment`], [`registry`] finds it by
//! name, [`invoke`] runs it; [`request`] is what it may read, [`call`] what it holds while it
//! runs, and [`answer`] what it made. Left out: whether to run it at all, which the cache
//! decides (`serving`), and what its imports do (`capability`).

pub mod answer;
pub mod call;
mod counters;
pub mod invoke;
pub mod load;
pub mod registry;
pub mod request;

pub use answer::Answer;
pub use invoke::RunError;
pub use load::Deployment;
pub use registry::Registry;
pub use request::KeyedRequest;
