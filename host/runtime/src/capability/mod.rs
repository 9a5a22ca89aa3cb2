//! What a guest may reach: WIT on one side, the host's own types on the other, nothing else.
//!
//! One module a capability. Each has its grant where it has a scope, a `Context` of what it
//! knows of one call, its host functions on a [`View`](call::View) of a store, and `link`. None
//! of them knows the others or the store's data: [`guest`] puts the contexts together and
//! links what [`grants`] open. [`call`] is the budget that all of them spend from,
//! [`host_call`] how a call that waits leaves the guest's thread.
//!
//! Out of scope: the services themselves (`tenant` and the crates below), and loading.

pub mod body;
pub mod call;
pub mod collections;
pub mod documents;
pub mod embedding;
pub mod grants;
pub mod guest;
pub mod host_call;
pub mod logging;
pub mod request;
mod resources;
pub mod settings;
pub mod wasi;
