//! Weir's cache: what a key is, what an entry is, when an entry is still the truth.
//!
//! The way of a lookup: [`json`] gives a request its canonical text, [`key`] turns the
//! parts that a policy named into a [`CacheKey`], [`memory`] holds the entries, [`tag`]
//! tells whether anything that an [`entry`] read has changed after its [`Position`], and
//! [`single_flight`] makes one caller compute what many ask for, but for what
//! [`uncacheable`] remembers as never stored.
//!
//! Left out on purpose: WebAssembly, HTTP, and the policy that decides. This crate knows
//! values only by their weight.

pub mod entry;
pub mod json;
pub mod key;
pub mod memory;
mod position;
pub mod single_flight;
pub mod tag;
pub mod uncacheable;

pub use key::CacheKey;
pub use position::Position;
