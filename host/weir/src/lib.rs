//! The `weir` program: its command line, its configuration, and the code that wires a server
//! together.
//!
//! [`cli`] is the command line; [`config`] is the file that an operator writes; [`build`] turns
//! it into an [`App`](weir_server::http::app::App). Out of scope: everything else, which is in
//! the crates below (`host/ARCHITECTURE.md` describes them).

pub mod build;
pub mod cli;
pub mod config;
mod shared;
