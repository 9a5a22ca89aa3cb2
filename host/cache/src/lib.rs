//! Weir's cache: what a key is, what an entry is, when an entry is still the truth.
//!
//! The way of a lookup: [`key`] turns the parts that a policy named into a [`CacheKey`],
//! [`memory`] holds the entries, [`tag`] tells whether anything that an [`entry`] read has
//! changed since its [`Position`](weir_core::Position), and [`single_flight`] makes one
//! caller compute what many ask for, except for what [`uncacheable`] remembers as never
//! stored.
//!
//! Out of scope: WebAssembly, HTTP, and the policy that decides. This crate knows values only
//! by their weight.

pub mod encoding;
pub mod entry;
pub mod key;
pub mod memory;
pub mod reads;
pub mod single_flight;
pub mod tag;
pub mod uncacheable;

pub use key::CacheKey;
