//! Weir's cache: what a key is, what an entry is, and when an entry is still true.
//!
//! A lookup goes like this: [`key`] turns the parts that a policy names into a [`CacheKey`],
//! [`memory`] holds the entries, [`tag`] tells whether anything that an [`entry`] read has
//! changed since its [`Position`](weir_core::Position), [`invalidation`] whether somebody has invalidated
//! it, and [`single_flight`] lets one caller
//! compute what many ask for. [`recent`] remembers keys that led to nothing, so that nobody waits for them.
//! What an entry depends on has names in [`reads`], and its [`lifetime`] says when it may be served stale. [`encoding`] writes entries as bytes, and the
//! shared [`tier`] keeps these in an [`envelope`], outside the process. [`usage`] counts hits.
//!
//! Out of scope: WebAssembly, HTTP, and the policy that decides. This crate knows values only by
//! their weight and their encoding.

pub mod encoding;
pub mod entry;
pub mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod invalidation;
pub mod key;
pub mod lifetime;
pub mod memory;
pub mod reads;
pub mod recent;
pub mod single_flight;
pub mod tag;
pub mod tier;
pub mod usage;

pub use key::CacheKey;
