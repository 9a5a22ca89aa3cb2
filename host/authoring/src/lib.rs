//! What authors of plugins need on their own machine: a new crate ([`template`]) with the SDK ([`sdk`]), a
//! way to compile it ([`toolchain`], [`compile`]), the component that comes of it ([`component`]), and when to do it
//! again ([`watch`]).
//!
//! `weir plugin` and `cargo xtask` build plugins by this, so that there is one way. Out of scope: what is in
//! a manifest, and servers.

pub mod compile;
pub mod component;
pub mod process;
pub mod sdk;
pub mod template;
pub mod toolchain;
pub mod watch;
