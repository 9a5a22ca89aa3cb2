//! `weir:vector`: searches of granted collections, and their hits, which stay on the host's
//! side until a field is asked for.

use std::sync::Arc;

use tracing::error;
use wasmtime::component::{Accessor, Resource};
use weir_backends::embedding::Embedding as Vector;
use weir_backends::name::{DocumentId, Name};
use weir_backends::sql::HitText;
use weir_backends::vector as backend;
use weir_backends::vector::filter;
use weir_bindings::pipeline::weir::embedding::types::Embedding;
use weir_bindings::pipeline::weir::vector::collections::{
    self, Collection, HostCollection, HostCollectionWithStore, Query, VectorError,
};
use weir_bindings::pipeline::weir::vector::types;

use super::host_call::{self, HostCallError};
use super::resources;
use crate::pipeline::call::{Call, Guest, GuestState};

/// Hits of one search.
const MAX_LIMIT: u32 = 1_000;
/// Ids of one `get`.
const MAX_IDS: usize = 1_000;
/// Keyword evidence of one query.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Collections that one request may ask: each is kept in the record of reads.
const MAX_COLLECTIONS: usize = 64;

/// A hit with the truth's text.
#[derive(Clone, Debug)]
pub struct FoundHit {
    /// Which chunk of which document, and how well it fits.
    pub hit: backend::Hit,
    /// What the truth says of it.
    pub text: HitText,
}

/// Ranked hits, behind a guest's handle.
#[derive(Clone, Debug, Default)]
pub struct FoundHits(pub Vec<FoundHit>);

impl types::Host for GuestState {}

impl types::HostHits for GuestState {
    fn ranking(&mut self, hits: Resource<types::Hits>) -> wasmtime::Result<Vec<types::Hit>> {
        let found: &FoundHits = resources::get(&self.table, &hits)?;
        let ranking = found.0.iter().map(|found| types::Hit {
            id: found.hit.document.as_str().to_owned(),
            chunk: found.hit.chunk,
            score: found.hit.score,
            start: found.hit.start,
            end: found.hit.end,
        });
        Ok(ranking.collect())
    }

    fn text(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(&self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|found| found.text.text.as_ref().to_owned()))
    }

    fn metadata(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(&self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|found| found.text.metadata.as_ref().to_owned()))
    }

    fn reorder(
        &mut self,
        hits: Resource<types::Hits>,
        indices: Vec<u32>,
    ) -> wasmtime::Result<Option<Resource<types::Hits>>> {
        let found: &FoundHits = resources::get(&self.table, &hits)?;
        let bytes = indices.len().saturating_mul(size_of::<FoundHit>());
        if !self.call.spend(bytes) {
            wasmtime::bail!("{SPENT}");
        }
        let Some(reordered) = reorder(found, &indices) else { return Ok(None) };
        Ok(Some(resources::push(&mut self.table, reordered)?))
    }

    fn drop(&mut self, hits: Resource<types::Hits>) -> wasmtime::Result<()> {
        resources::take::<FoundHits, _>(&mut self.table, &hits)?;
        Ok(())
    }
}

fn reorder(found: &FoundHits, indices: &[u32]) -> Option<FoundHits> {
    let mut left: Vec<_> = found.0.iter().map(Some).collect();
    let taken = indices.iter().map(|&index| left.get_mut(index as usize)?.take().cloned());
    taken.collect::<Option<_>>().map(FoundHits)
}

impl collections::Host for GuestState {}

impl HostCollection for GuestState {
    fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Collection>, VectorError>> {
        // Whether it is there is a question to the engine, so each search asks it.
        let Ok(name) = Name::new(&name) else {
            return Ok(Err(VectorError::UnknownCollection(name)));
        };
        Ok(Ok(resources::push(&mut self.table, name)?))
    }

    fn drop(&mut self, collection: Resource<Collection>) -> wasmtime::Result<()> {
        resources::take::<Name, _>(&mut self.table, &collection)?;
        Ok(())
    }
}

impl HostCollectionWithStore<GuestState> for Guest {
    async fn search(
        accessor: &Accessor<GuestState, Self>,
        collection: Resource<Collection>,
        query: Query,
    ) -> wasmtime::Result<Result<Resource<types::Hits>, VectorError>> {
        let (call, query) = accessor.with(|mut state| {
            let state = state.get();
            let name: &Name = resources::get(&state.table, &collection)?;
            let query = backend_query(state, name.clone(), query)?;
            Ok::<_, wasmtime::Error>((Arc::clone(&state.call), query))
        })?;
        let outcome = match query {
            Ok(query) => search(&call, query).await,
            Err(error) => Err(error),
        };
        keep(accessor, outcome)
    }

    async fn get(
        accessor: &Accessor<GuestState, Self>,
        collection: Resource<Collection>,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<types::Hits>, VectorError>> {
        let (call, name) = accessor.with(|mut state| {
            let state = state.get();
            let name: &Name = resources::get(&state.table, &collection)?;
            Ok::<_, wasmtime::Error>((Arc::clone(&state.call), name.clone()))
        })?;
        keep(accessor, get(&call, name, ids).await)
    }
}

/// Gives the guest a handle to what was found.
fn keep(
    accessor: &Accessor<GuestState, Guest>,
    outcome: Result<FoundHits, VectorError>,
) -> wasmtime::Result<Result<Resource<types::Hits>, VectorError>> {
    match outcome {
        Ok(found) => {
            accessor.with(|mut state| Ok(Ok(resources::push(&mut state.get().table, found)?)))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// The query in the host's own types. The outer error is a handle that is none.
fn backend_query(
    state: &GuestState,
    collection: Name,
    query: Query,
) -> wasmtime::Result<Result<backend::Query, VectorError>> {
    let nearest = match &query.nearest {
        Some(handle) => Some(resources::get::<Vector, Embedding>(&state.table, handle)?.clone()),
        None => None,
    };
    if query.limit > MAX_LIMIT {
        let reason = format!("a limit is at most {MAX_LIMIT}");
        return Ok(Err(VectorError::InvalidQuery(reason)));
    }
    Ok(Ok(backend::Query {
        collection,
        nearest,
        text: query.text,
        filter: query.filter.map(backend_filter),
        minimum_score: query.minimum_score,
        unit: match query.unit {
            collections::Unit::Document => backend::Unit::Document,
            collections::Unit::Chunk => backend::Unit::Chunk,
        },
        limit: query.limit,
        offset: query.offset,
    }))
}

fn backend_filter(filter: collections::Filter) -> filter::Filter {
    let conditions = |list: Vec<collections::Condition>| {
        list.into_iter()
            .map(|condition| filter::Condition {
                field: condition.field,
                predicate: backend_predicate(condition.predicate),
            })
            .collect()
    };
    filter::Filter {
        must: conditions(filter.must),
        should: conditions(filter.should),
        must_not: conditions(filter.must_not),
    }
}

fn backend_predicate(predicate: collections::Predicate) -> filter::Predicate {
    use collections::Predicate;
    match predicate {
        Predicate::Equals(value) => filter::Predicate::Equals(backend_value(value)),
        Predicate::AnyOf(values) => {
            filter::Predicate::AnyOf(values.into_iter().map(backend_value).collect())
        }
        Predicate::AtLeast(number) => filter::Predicate::AtLeast(number),
        Predicate::AtMost(number) => filter::Predicate::AtMost(number),
        Predicate::Exists => filter::Predicate::Exists,
    }
}

fn backend_value(value: collections::Value) -> filter::Value {
    use collections::Value;
    match value {
        Value::Text(text) => filter::Value::Text(text),
        Value::Integer(integer) => filter::Value::Integer(integer),
        Value::Number(number) => filter::Value::Number(number),
        Value::Boolean(boolean) => filter::Value::Boolean(boolean),
    }
}

async fn search(call: &Arc<Call>, query: backend::Query) -> Result<FoundHits, VectorError> {
    note_read(call, &query.collection)?;
    if query.text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        let reason = format!("the text has over {MAX_TEXT_BYTES} bytes");
        return Err(VectorError::InvalidQuery(reason));
    }
    let (services, budget) = (Arc::clone(&call.services), Arc::clone(call));
    let work = async move {
        let collection = query.collection.clone();
        let page = services.vectors.search(query).await.map_err(vector_error)?;
        let texts = services.truth.hit_texts(&collection, &page.hits).await.map_err(sql_error)?;
        // A hit whose chunk is no longer the truth's is dropped from the page: the change
        // that it missed has moved the collection's tag, so the answer is not kept either.
        let found = page.hits.into_iter().zip(texts);
        let found = found.filter_map(|(hit, text)| Some(FoundHit { hit, text: text? }));
        found.map(|found| charged(&budget, found)).collect::<Result<_, _>>().map(FoundHits)
    };
    host_call::run(call, "search", work).await.map_err(host_call_error)?
}

/// Documents by id, each whole; those that are not there are left out.
async fn get(call: &Arc<Call>, name: Name, ids: Vec<String>) -> Result<FoundHits, VectorError> {
    if ids.len() > MAX_IDS {
        return Err(VectorError::InvalidQuery(format!("at most {MAX_IDS} ids in one call")));
    }
    note_read(call, &name)?;
    let (services, budget) = (Arc::clone(&call.services), Arc::clone(call));
    let work = async move {
        let mut found = Vec::new();
        for id in &ids {
            let Ok(id) = DocumentId::new(id) else { continue };
            let document = services.truth.document(&name, &id).await.map_err(sql_error)?;
            let Some(document) = document else { continue };
            found.push(charged(&budget, whole_document(document)?)?);
        }
        Ok(FoundHits(found))
    };
    host_call::run(call, "get", work).await.map_err(host_call_error)?
}

/// Notes that the request has asked `collection`, found or not.
fn note_read(call: &Call, collection: &Name) -> Result<(), VectorError> {
    let mut read = call.collections.lock();
    if read.len() >= MAX_COLLECTIONS && !read.contains(collection) {
        let reason = format!("a request asks at most {MAX_COLLECTIONS} collections");
        return Err(VectorError::InvalidQuery(reason));
    }
    read.insert(collection.clone());
    Ok(())
}

/// What a request keeps on the host's side is the request's: it comes out of its budget.
fn charged(call: &Call, found: FoundHit) -> Result<FoundHit, VectorError> {
    let bytes = size_of::<FoundHit>() + found.text.text.len() + found.text.metadata.len();
    if call.spend(bytes) { Ok(found) } else { Err(VectorError::Failed(SPENT.to_owned())) }
}

const SPENT: &str = "the request has no bytes left for what it keeps on the host's side";

fn whole_document(document: weir_backends::sql::Document) -> Result<FoundHit, VectorError> {
    let end = u32::try_from(document.text.len())
        .map_err(|_| VectorError::Failed("the document is too long".to_owned()))?;
    Ok(FoundHit {
        hit: backend::Hit {
            document: document.id,
            version: document.version,
            chunk: 0,
            score: 1.0,
            start: 0,
            end,
        },
        text: HitText { text: document.text, metadata: document.metadata },
    })
}

fn vector_error(error: backend::VectorError) -> VectorError {
    match error {
        backend::VectorError::UnknownCollection(name) => {
            VectorError::UnknownCollection(name.into())
        }
        backend::VectorError::InvalidQuery(reason) => VectorError::InvalidQuery(reason),
        backend::VectorError::Failed(reason) => {
            // The reason may name files; the guest learns only that it failed.
            error!(reason, "the vector store failed");
            VectorError::Failed("the vector store failed".to_owned())
        }
    }
}

fn sql_error(error: weir_backends::sql::SqlError) -> VectorError {
    if let weir_backends::sql::SqlError::UnknownCollection(name) = error {
        return VectorError::UnknownCollection(name.into());
    }
    error!(%error, "the truth did not answer");
    VectorError::Unavailable("the document store did not answer".to_owned())
}

fn host_call_error(error: HostCallError) -> VectorError {
    match error {
        HostCallError::TimedOut => VectorError::TimedOut,
        HostCallError::Panicked => VectorError::Failed(error.to_string()),
    }
}

impl GuestState {
    /// Takes the hits that a guest's answer is made of.
    pub(crate) fn take_hits(
        &mut self,
        hits: &Resource<types::Hits>,
    ) -> wasmtime::Result<FoundHits> {
        Ok(resources::take(&mut self.table, hits)?)
    }
}
