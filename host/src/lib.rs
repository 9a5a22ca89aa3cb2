//! Weir's host: it serves query pipelines written as WebAssembly components.
//!
//! The way of a request through the files: [`server`] accepts the connection and bounds it,
//! [`http`] routes it, [`policy`] makes its key, [`serving`] finds its answer or has
//! [`pipeline`] make one on [`engine`]'s threads, with what [`capability`] offers, and
//! [`http::respond`] completes the response. A write goes through [`documents`]. [`app`] is what all of them share;
//! [`config`] is the one file that an operator writes; [`cli`] is the command line.
//!
//! `host/ARCHITECTURE.md` draws the same map with the invariants.

pub mod app;
pub mod capability;
pub mod cli;
pub mod config;
pub mod documents;
pub mod engine;
pub mod http;
pub mod pipeline;
pub mod policy;
pub mod server;
pub mod serving;
pub mod telemetry;

/// The owner of keys, collections and plugins. There is one; every key and file already
/// carries its name.
pub const TENANT: &str = "default";
