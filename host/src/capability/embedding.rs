//! `weir:embedding`: texts to vectors that stay on the host's side.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use weir_backends::embedding::{self as backend, Lane};
use weir_bindings::pipeline::weir::embedding::embedder::{self, EmbedError};
use weir_bindings::pipeline::weir::embedding::types::{self, Embedding, HostEmbedding};

use super::host_call::{self, HostCallError};
use super::resources;
use crate::pipeline::call::{Call, Guest, GuestState};

/// Texts in one call.
const MAX_TEXTS: usize = 256;

impl types::Host for GuestState {}

impl HostEmbedding for GuestState {
    fn dimensions(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<u32> {
        let embedding: &backend::Embedding = resources::get(&self.table, &embedding)?;
        Ok(u32::try_from(embedding.0.len())?)
    }

    fn values(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<Vec<f32>> {
        let embedding: &backend::Embedding = resources::get(&self.table, &embedding)?;
        Ok(embedding.0.to_vec())
    }

    fn drop(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<()> {
        resources::take::<backend::Embedding, _>(&mut self.table, &embedding)?;
        Ok(())
    }
}

impl embedder::Host for GuestState {}

impl embedder::HostWithStore<GuestState> for Guest {
    async fn embed(
        accessor: &Accessor<GuestState, Self>,
        model: String,
        texts: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Resource<Embedding>>, EmbedError>> {
        let call = accessor.with(|mut state| Arc::clone(&state.get().call));
        let vectors = match embed(&call, model, texts).await {
            Ok(vectors) => vectors,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut state| {
            let table = &mut state.get().table;
            let handles = vectors.into_iter().map(|vector| resources::push(table, vector));
            Ok(Ok(handles.collect::<Result<_, _>>()?))
        })
    }
}

async fn embed(
    call: &Arc<Call>,
    model: String,
    texts: Vec<String>,
) -> Result<Vec<backend::Embedding>, EmbedError> {
    let embedder = Arc::clone(&call.services.embedder);
    // An empty name is the host's only model: a plugin need not know what it is called.
    if !model.is_empty() && model != embedder.model() {
        return Err(EmbedError::UnknownModel(model));
    }
    if texts.len() > MAX_TEXTS {
        return Err(EmbedError::Failed(format!("at most {MAX_TEXTS} texts in one call")));
    }
    if !call.spend(texts.iter().map(String::len).sum()) {
        return Err(EmbedError::Overloaded);
    }
    let texts: Vec<Arc<str>> = texts.into_iter().map(Arc::from).collect();
    let work = async move { embedder.embed(&texts, Lane::Interactive).await };
    match host_call::run(call, "embed", work).await {
        Ok(outcome) => outcome.map_err(|error| match error {
            backend::EmbedError::TooLong { tokens, .. } => {
                EmbedError::TooLong(u32::try_from(tokens).unwrap_or(u32::MAX))
            }
            backend::EmbedError::Overloaded => EmbedError::Overloaded,
            backend::EmbedError::Failed(reason) => EmbedError::Failed(reason),
        }),
        Err(HostCallError::TimedOut) => Err(EmbedError::TimedOut),
        Err(error @ HostCallError::Panicked) => Err(EmbedError::Failed(error.to_string())),
    }
}
