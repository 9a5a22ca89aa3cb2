//! What a guest may access. Capabilities only translate between the WIT and the host's own types.
//!
//! There is one module for each capability. It has its grant, if that is more than a switch, a
//! `Context` of what it knows about one call, its host functions on a [`View`](call::View) of a
//! store, and `link`. Capabilities do not know the store's data: [`guest`] combines the contexts
//! and links what [`grants`] allow. [`call`] is the budget that they share, and [`host_call`] moves
//! calls that wait off the guest's thread.
//!
//! Out of scope: the services themselves (`tenant` and the lower crates), and loading.

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
