//! Observability of a running server: the log and the metrics.

pub mod guards;
pub mod latencies;
pub mod log;
pub mod metrics;
pub mod upkeep;
