//! Weir's integration tests: the real server, as a process, over real sockets.
//!
//! [`harness`] starts servers and talks to them; [`cases`] has the tests, one file per
//! subject. `cargo xtask test` sets the environment variables that they need.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic here is a failing test, and says where"
)]

mod cases;
mod harness;
