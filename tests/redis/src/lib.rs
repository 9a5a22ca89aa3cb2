//! Private Redis servers for tests: single ones, with Sentinels, and Clusters, on free ports and in folders
//! of their own, which tests kill, stop and start again; and a proxy with faults to put in front of them.
//!
//! Everything is killed when it is dropped. What cannot be done panics, because a test fails then. Out of
//! scope: what the tests ask Redis for, except for commands that change how it behaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic here is a failing test, and says where"
)]

mod certificates;
mod cluster;
mod proxy;
mod reply;
mod sentinels;
mod server;
mod spoil;

pub use self::certificates::Certificates;
pub use self::cluster::Cluster;
pub use self::proxy::{Fault, Proxy};
pub use self::reply::Reply;
pub use self::sentinels::Sentinels;
pub use self::server::RedisServer;
pub use self::spoil::Spoil;
