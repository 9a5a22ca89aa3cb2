//! Weir's integration tests: the real server, as a process, over real sockets.
//!
//! [`harness`] starts servers and talks to them; [`cases`] is what is tested, a file a
//! subject. What they need comes from the environment, which `cargo xtask test` sets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here is a failing test, and says where"
)]

mod cases;
mod harness;
