//! Everything that a plugin for Weir needs: pipelines answer requests, cache policies
//! decide what is kept, under which key and for how long.
//!
//! A plugin is a WebAssembly component made from a crate like this:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! weir-sdk = { path = "…/plugins/sdk" }
//! ```
//!
//! # A pipeline
//!
//! A type that implements [`Pipeline`], named to [`pipeline!`]. This is all of a pipeline
//! that searches by keyword:
//!
//! ```
//! use weir_sdk::collections::{Collection, Query};
//! use weir_sdk::{Failure, Pipeline, Request, Response, serde_json::Value};
//!
//! struct Lookup;
//!
//! impl Pipeline for Lookup {
//!     async fn handle(request: Request) -> Result<Response, Failure> {
//!         let body: Value = request.json()?;
//!         let Some(text) = body["query"].as_str() else {
//!             return Err(Failure::invalid("invalid-query", "'query' must be a string"));
//!         };
//!         let collection = Collection::open("handbook")?;
//!         let hits = collection.search(Query::new(10).text(text)).await?;
//!         Ok(Response::hits(hits))
//!     }
//! }
//!
//! weir_sdk::pipeline!(Lookup);
//! # fn main() {}
//! ```
//!
//! What it shows:
//! - *The request is read through a resource*, because the host notes which parts are read:
//!   an answer made from a header that is not in the cache's key is neither kept nor shared.
//! - *A failure has a stable code and a message*, and both reach the client as
//!   `application/problem+json`. Errors of host calls convert with `?`; match on them first
//!   where a better message is possible.
//! - *Hits stay on the host.* [`Response::hits`] has the answer's `results` written from the
//!   host's memory; the texts never enter the sandbox. [`collections::Hits`] reads single
//!   fields where a pipeline wants to see them, and reorders them for rerankers.
//! - *Host calls are `async`*: two that do not need each other can wait at the same time,
//!   with any executor-free `join`, such as that of the crate `futures`.
//!
//! Every request gets a fresh instance, and statics do not outlive it: there is nothing to
//! clean up and nothing to leak to the next request.
//!
//! # What it may call
//!
//! | module | grant | for |
//! |---|---|---|
//! | [`embedding`] | `weir:embedding/embedder` | texts to vectors |
//! | [`collections`] | `weir:vector/collections` | search: dense, keyword, hybrid |
//! | [`documents`] | `weir:documents/writer` | writing; such a pipeline is never cached |
//! | [`settings`] | `weir:observe/settings` | what the deployment configures |
//! | [`logging`] | `weir:observe/logging` | lines in the host's log |
//!
//! A component imports what its code calls and nothing else, and the host refuses to load
//! one whose imports were not all granted. Nothing needs a declaration in code, but the
//! manifest (`plugin.toml`) tells operators what to grant.
//!
//! # A cache policy
//!
//! See [`mod@policy`]: one function that says what the key is made of and how long an answer
//! lives, compiled to native code when the policy is loaded, and hooks for those who need
//! them.
//!
//! # Natively
//!
//! The crate also compiles for the machine that builds it, so that logic can be unit tested
//! with `cargo test`. Only calling the host panics there: keep the calls behind a trait, as
//! the plugin `search` does.
//!
//! # Memory
//!
//! The global allocator is set here: dlmalloc, which first uses the memory that an instance
//! begins with. Each growth costs the host system calls, so give the linker a heap that
//! covers a usual request, and little stack, in `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! rustflags = ["-Clink-arg=-zstack-size=131072", "-Clink-arg=--initial-heap=131072"]
//! ```
//!

#[doc(hidden)]
pub mod bindings;
pub mod collections;
pub mod documents;
pub mod embedding;
mod failure;
pub mod logging;
mod pipeline;
pub mod policy;
pub mod settings;

pub use serde;
pub use serde_json;

pub use bindings::pipeline::exports::weir::pipeline::handler::Guest as Pipeline;
pub use bindings::pipeline::weir::pipeline::types::{
    Body, Detail, Failure, HitsBody, Request, Response,
};

/// Not std's own, which may be of an age that begins with a growth.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
