//! What a running server says about itself: the log and the metrics.

pub mod log;
pub mod metrics;
