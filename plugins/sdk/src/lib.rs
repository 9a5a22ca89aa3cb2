//! Everything that a plugin for Weir needs. A *pipeline* answers requests; a *cache policy* decides
//! what is cached, under which key, and for how long.
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
//! A pipeline is a type that implements [`Pipeline`], passed to [`pipeline!`]. This is a complete
//! pipeline that searches by keyword:
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
//!             return Err(Failure::invalid_request("invalid-query", "'query' must be a string"));
//!         };
//!         let hits = Collection::open("handbook")?.search(Query::new(10).text(text)).await?;
//!         Ok(Response::hits(&hits).build()?)
//!     }
//! }
//!
//! weir_sdk::pipeline!(Lookup);
//! # fn main() {}
//! ```
//!
//! What it shows:
//! - *The request is read through a resource*, because the host records which parts are read: an
//!   answer made from a header that is not in the cache's key is neither stored nor shared.
//! - *A failure has a stable code and a message*, and the client receives both as
//!   `application/problem+json`. Errors of host calls convert with `?`; match on them first if
//!   you can give a better message.
//! - *Hits stay on the host.* [`Response::hits`] has the host write `results` from its own memory;
//!   the texts never enter the sandbox. [`collections::Hits`] reads single fields for a pipeline
//!   that wants to look at them, and reorders hits for rerankers.
//! - *Host calls are `async`*: independent calls can wait at the same time, with any `join` that
//!   needs no executor, such as that of the crate `futures`.
//!
//! Every request gets a fresh instance, and statics do not outlive it: there is nothing to clean
//! up, and nothing leaks to the next request.
//!
//! # What it can call
//!
//! | module | grant | for |
//! |---|---|---|
//! | [`embedding`] | `weir:embedding/embedder` | texts to vectors |
//! | [`collections`] | `weir:vector/collections` | search: dense, keyword, hybrid |
//! | [`documents`] | `weir:documents/writer` | writing; such a pipeline is never cached |
//! | [`settings`] | `weir:observe/settings` | what the operator set for the deployment |
//! | [`logging`] | `weir:observe/logging` | lines in the host's log |
//!
//! A component imports what its code calls and nothing else, and the host refuses to load one
//! whose imports are not all granted. The manifest (`plugin.toml`) tells operators what to grant.
//!
//! # A cache policy
//!
//! See [`mod@policy`]: one function that says what the key is made of and how long an answer
//! lives, and optional hooks. The result of that function is compiled to native code when the
//! policy is loaded.
//!
//! # Unit tests
//!
//! The crate also compiles for the machine that builds it, so that logic can be unit tested with
//! `cargo test`. Only calls to the host panic there: keep the calls behind a trait, as the
//! plugin `search` does.
//!
//! # Memory
//!
//! The crate sets the global allocator: dlmalloc, which first uses the memory that an instance
//! starts with. Growing the memory costs the host system calls, so give the linker a heap that
//! covers a usual request, and a small stack, in `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! rustflags = ["-Clink-arg=-zstack-size=131072", "-Clink-arg=--initial-heap=131072"]
//! ```

#[doc(hidden)]
pub mod bindings;
pub mod collections;
pub mod documents;
pub mod embedding;
mod failure;
pub mod logging;
mod pipeline;
pub mod policy;
mod request;
mod response;
pub mod settings;

pub use serde;
pub use serde_json;

pub use failure::{Failure, FailureKind};
pub use pipeline::Pipeline;
#[doc(hidden)]
pub use pipeline::run_pipeline;
pub use request::Request;
pub use response::{HitsResponse, Response};

/// Not std's allocator, which in some versions starts by growing the memory.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
