//! Weir's server: connections, the public HTTP interface, the log and the metrics.
//!
//! [`listener`] accepts connections and limits them; [`http`] routes requests and completes
//! responses; [`identity`] finds the tenant of a request; [`in_flight`] bounds how many there are;
//! [`telemetry`] has the log and the metrics. What happens between request and response is the job
//! of `weir-runtime`.
//!
//! Out of scope: the configuration file, and wiring an [`App`](http::app::App) (`weir`).

pub mod config;
pub mod http;
pub mod identity;
pub mod in_flight;
pub mod lifecycle;
pub mod listener;
pub mod services;
pub mod telemetry;
