//! Weir's runtime: pipelines and cache policies as WebAssembly components, what they may
//! reach, and how a request gets its answer.
//!
//! From the top: [`answers`] finds an answer in the cache or has one made; [`deploy`] says which
//! pipeline and which policy serve a name; [`pipeline`] runs components on the threads of
//! [`engine`] with what [`capability`] offers; [`policy`] makes keys; [`tenant`] owns the
//! stores. [`request`] is what a key is made of and what a guest reads. Each module uses those
//! after it in this list, and none before.
//!
//! Out of scope: HTTP, the configuration's file, and opening stores.

pub mod answers;
pub mod capability;
pub mod deploy;
pub mod engine;
pub mod pipeline;
pub mod policy;
pub mod request;
pub mod settings;
pub mod tenant;
