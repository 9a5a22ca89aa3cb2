//! Weir's server: connections, the public HTTP interface, the log and the metrics.
//!
//! From the top: [`listener`] accepts connections and bounds them; [`http`] routes requests and
//! completes responses; [`identity`] says whose a request is; [`telemetry`] is what the server
//! says about itself. What happens between request and response is `weir-runtime`'s.
//!
//! Out of scope: the configuration's file, and wiring an [`App`](http::app::App) (`weir`).

pub mod config;
pub mod http;
pub mod identity;
pub mod lifecycle;
pub mod listener;
pub mod telemetry;
