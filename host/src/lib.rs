//! Weir's host: it serves query pipelines written as WebAssembly components.
//!
//! The way of a request through the files: [`server`] accepts the connection and bounds it,
//! [`http`] routes it, [`pipeline`] says what runs, and [`http::respond`] completes the
//! answer. A write goes through [`documents`]. [`app`] is what all of them share;
//! [`config`] is the one file that an operator writes; [`cli`] is the command line.
//!
//! `host/ARCHITECTURE.md` draws the same map with the invariants.

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod pipeline;
pub mod server;
pub mod telemetry;
