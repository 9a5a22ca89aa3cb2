//! `weir:embedding`: turns texts into vectors, which stay on the host's side until a guest asks
//! for their values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use weir_bindings::pipeline::weir::embedding::embedder;
use weir_bindings::pipeline::weir::embedding::types::{
    self, EmbedError, Embedding, HostEmbedding, LargeText, LongText,
};
use weir_bindings::plain::weir::embedding::plain_embedder;
use weir_embedding::models::Models;
use weir_embedding::{self as backend, Origin, Texts};

use super::call::{Call, View};
use super::host_call::{self, HostCallError};
use super::resources;
use crate::tenant::reading::Reading;

/// The most texts in one call.
const MAX_TEXTS: usize = 256;

/// The interface that needs the grant, and its plain variant.
pub(super) const INTERFACES: [&str; 2] =
    ["weir:embedding/embedder", "weir:embedding/plain-embedder"];

/// `grants.embedding`: access to all models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {}

/// What embedding knows about a call.
pub struct Context {
    /// The models of the server.
    pub models: Arc<Models>,
    /// What the call reads: where it names no model, that of the collections is used.
    pub reading: Arc<Reading>,
    /// Whose work its texts are.
    pub origin: Arc<Origin>,
}

/// A vector behind a guest's handle.
#[derive(Clone, Debug)]
pub struct Vector {
    /// The vector.
    pub embedding: backend::Embedding,
    /// The digest of the model that made it. Vectors of different models are not comparable.
    pub model_digest: Arc<str>,
}

/// Links the type of vectors, which every pipeline may use.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link_types<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_, Context>,
) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Linked>(linker, view)
}

/// Links the interfaces that the grant opens.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_, Context>,
) -> wasmtime::Result<()> {
    embedder::add_to_linker::<_, Linked>(linker, view)?;
    plain_embedder::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

impl types::Host for View<'_, Context> {}

impl HostEmbedding for View<'_, Context> {
    fn dimensions(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<u32> {
        let vector: &Vector = resources::get(self.table, &embedding)?;
        Ok(u32::try_from(vector.embedding.0.len())?)
    }

    fn values(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<Vec<f32>> {
        let vector: &Vector = resources::get(self.table, &embedding)?;
        Ok(vector.embedding.0.to_vec())
    }

    fn drop(&mut self, embedding: Resource<Embedding>) -> wasmtime::Result<()> {
        resources::take::<Vector, _>(self.table, &embedding)?;
        Ok(())
    }
}

impl embedder::Host for View<'_, Context> {}

impl<T: Send> embedder::HostWithStore<T> for Linked {
    async fn embed(
        accessor: &Accessor<T, Self>,
        model: Option<String>,
        texts: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Resource<Embedding>>, EmbedError>> {
        let (context, call) = accessor.with(|mut state| {
            let View { context, call, .. } = state.get();
            (Arc::clone(context), Arc::clone(call))
        });
        let outcome = embed(&context, &call, model, texts).await;
        accessor.with(|mut state| keep(state.get().table, outcome))
    }
}

impl plain_embedder::Host for View<'_, Context> {
    async fn embed(
        &mut self,
        model: Option<String>,
        texts: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Resource<Embedding>>, EmbedError>> {
        let outcome = embed(self.context, self.call, model, texts).await;
        keep(self.table, outcome)
    }
}

/// Gives the guest handles to its vectors.
fn keep(
    table: &mut ResourceTable,
    outcome: Result<Vec<Vector>, EmbedError>,
) -> wasmtime::Result<Result<Vec<Resource<Embedding>>, EmbedError>> {
    match outcome {
        Ok(vectors) => {
            let handles = vectors.into_iter().map(|vector| resources::push(table, vector));
            Ok(Ok(handles.collect::<Result<_, _>>()?))
        }
        Err(error) => Ok(Err(error)),
    }
}

async fn embed(
    context: &Context,
    call: &Arc<Call>,
    model: Option<String>,
    texts: Vec<String>,
) -> Result<Vec<Vector>, EmbedError> {
    let outcome = try_embed(context, call, model, texts).await;
    if let Err(EmbedError::Unavailable(_) | EmbedError::TimedOut | EmbedError::Failed(_)) = outcome
    {
        call.note_failure();
    }
    outcome
}

async fn try_embed(
    context: &Context,
    call: &Arc<Call>,
    model: Option<String>,
    texts: Vec<String>,
) -> Result<Vec<Vector>, EmbedError> {
    let embedder = match model {
        None => context.reading.embedder(),
        Some(name) => context
            .models
            .get(&name)
            .map(Arc::clone)
            .map_err(|unknown| EmbedError::UnknownModel(unknown.0))?,
    };
    if texts.len() > MAX_TEXTS {
        return Err(EmbedError::Invalid(format!(
            "the call has {} texts; at most {MAX_TEXTS} are allowed",
            texts.len()
        )));
    }
    if !call.spend(texts.iter().map(String::len).sum()) {
        return Err(EmbedError::QuotaExceeded);
    }
    let model_digest: Arc<str> = embedder.model_digest().into();
    // On the guest's thread, which it delays as copying the texts did.
    let texts = Texts::new(texts);
    let origin = Arc::clone(&context.origin);
    let work = async move { embedder.embed(&texts, &origin).await };
    match host_call::run(call, "embed", work).await {
        Ok(Ok(embedded)) => {
            let vector = |embedded: backend::Embedded| Vector {
                embedding: embedded.vector,
                model_digest: Arc::clone(&model_digest),
            };
            Ok(embedded.into_iter().map(vector).collect())
        }
        Ok(Err(error)) => Err(match error {
            backend::EmbedError::TooLong { index, tokens, max_tokens } => {
                let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                EmbedError::TooLong(LongText {
                    index: count(index),
                    tokens: count(tokens),
                    max_tokens: count(max_tokens),
                })
            }
            backend::EmbedError::TooManyBytes { index, bytes, max_bytes } => {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let (bytes, max_bytes) = (bytes as u64, max_bytes as u64);
                EmbedError::TooLarge(LargeText { index, bytes, max_bytes })
            }
            error @ backend::EmbedError::Overloaded => EmbedError::Unavailable(error.to_string()),
            backend::EmbedError::Failed(reason) => EmbedError::Failed(reason),
        }),
        Err(HostCallError::QuotaExceeded) => Err(EmbedError::QuotaExceeded),
        Err(HostCallError::TimedOut) => Err(EmbedError::TimedOut),
        Err(error @ HostCallError::Panicked) => Err(EmbedError::Failed(error.to_string())),
    }
}
