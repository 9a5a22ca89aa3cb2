//! How limited resources are divided, so that nobody can take more than a fair part of them:
//! [`shares`] divides permits and room among keys, and [`turns`] divides time among accounts.
//!
//! Out of scope: what is limited, and the error that its user gets. This crate knows neither
//! tenants nor pipelines.

pub mod shares;
pub mod turns;
