//! The `weir` program: its command line, its configuration, and the one place that wires a
//! server together.
//!
//! [`cli`] is the command line; [`config`] is the one file that an operator writes; [`build`]
//! makes an [`App`](weir_server::http::app::App) of it. Everything else is in the crates
//! below: `host/ARCHITECTURE.md` is the map.

pub mod build;
pub mod cli;
pub mod config;
