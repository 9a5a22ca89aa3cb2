//! `weir:documents/writer`: a guest's writes, by the same service as the clients' own.

use std::sync::Arc;

use wasmtime::component::Accessor;
use weir_bindings::pipeline::weir::documents::writer::{self, Document, DocumentError};

use super::host_call::{self, HostCallError};
use crate::documents::{DocumentInput, WriteError};
use crate::pipeline::call::{Call, Guest, GuestState};

impl writer::Host for GuestState {}

impl writer::HostWithStore<GuestState> for Guest {
    async fn put(
        accessor: &Accessor<GuestState, Self>,
        collection: String,
        documents: Vec<Document>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        let call = accessor.with(|mut state| Arc::clone(&state.get().call));
        Ok(put(&call, collection, documents).await)
    }

    async fn delete(
        accessor: &Accessor<GuestState, Self>,
        collection: String,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        let call = accessor.with(|mut state| Arc::clone(&state.get().call));
        Ok(delete(&call, collection, ids).await)
    }
}
