//! What a guest may reach: WIT on one side, the host's own types on the other, nothing else.
//!
//! One file an interface. [`link`] offers a plugin exactly its grants; [`host_call`] is how
//! each call leaves the guest's thread. Left out: the services themselves (`weir_backends`,
//! `documents`) and which grants a plugin has (`pipeline::load`).

pub mod documents;
pub mod embedding;
pub mod grants;
pub mod host_call;
pub mod observe;
pub mod request;
mod resources;
pub mod vector;
pub mod wasi;

use wasmtime::component::Linker;
use weir_bindings::pipeline::weir as wit;

use crate::pipeline::call::{Guest, GuestState};
use grants::{Grant, Grants};

/// Makes a linker with the types, which every plugin has, and what is granted.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link(
    engine: &wasmtime::Engine,
    grants: &Grants,
    with_wasi: bool,
) -> Result<Linker<GuestState>, wasmtime::Error> {
    fn state(state: &mut GuestState) -> &mut GuestState {
        state
    }
    let mut linker = Linker::new(engine);
    wit::embedding::types::add_to_linker::<_, Guest>(&mut linker, state)?;
    wit::vector::types::add_to_linker::<_, Guest>(&mut linker, state)?;
    wit::pipeline::types::add_to_linker::<_, Guest>(&mut linker, state)?;
    for grant in grants.iter() {
        match grant {
            Grant::Embedder => {
                wit::embedding::embedder::add_to_linker::<_, Guest>(&mut linker, state)?;
            }
            Grant::Collections => {
                wit::vector::collections::add_to_linker::<_, Guest>(&mut linker, state)?;
            }
            Grant::DocumentsWriter => {
                wit::documents::writer::add_to_linker::<_, Guest>(&mut linker, state)?;
            }
            Grant::Logging => {
                wit::observe::logging::add_to_linker::<_, Guest>(&mut linker, state)?;
            }
            Grant::Settings => {
                wit::observe::settings::add_to_linker::<_, Guest>(&mut linker, state)?;
            }
        }
    }
    if with_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    Ok(linker)
}
