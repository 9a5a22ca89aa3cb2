//! Weir's integration tests: the real server, as a process, over real sockets.
//!
//! [`harness`] starts servers and talks to them; [`cases`] has the tests, one file per
//! subject. What they need comes from the environment, which `cargo xtask test` sets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here is a failing test, and says where"
)]

mod cases;
mod harness;
