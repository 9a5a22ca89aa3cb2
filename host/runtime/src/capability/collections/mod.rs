//! `weir:vector`: searches of granted collections. The hits stay on the host's side until the guest
//! asks for a field.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{error, info};
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use weir_bindings::pipeline::weir::embedding::types::Embedding;
use weir_bindings::pipeline::weir::vector::collections;
use weir_bindings::pipeline::weir::vector::types::{
    self, Collection, HostCollection, Query, VectorError,
};
use weir_bindings::plain::weir::vector::plain_collections;
use weir_cache::reads::{Read, ReadSet};
use weir_core::Position;
use weir_core::fault::{self, Fault};
use weir_core::name::{DocumentId, Name};
use weir_core::pattern::Scope;
use weir_limits::threads::Account;
use weir_search as backend;
use weir_search::filter::Filter;

use super::call::{Call, View};
use super::embedding::Vector;
use super::host_call::{self, HostCallError};
use super::resources;
use crate::tenant::Tenant;
use crate::tenant::reading::{Behind, Reading};

mod found;
mod hits;
mod query;

pub use found::{FoundHits, ResultsError, write_results};
use query::backend_query;

/// The interface that needs the grant, and its plain variant.
pub(super) const INTERFACES: [&str; 2] =
    ["weir:vector/collections", "weir:vector/plain-collections"];

/// How late texts come that a fault delays.
const LATE: Duration = Duration::from_millis(20);
/// The most hits of one search.
const MAX_LIMIT: u32 = 1_000;
/// The most ids of one `get`.
const MAX_IDS: usize = 1_000;
/// A `get` of more ids counts as a read of the whole collection.
const MAX_DOCUMENT_READS: usize = 128;
/// The longest text of one query.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// The most collections that one request may search or read: the read set records each.
const MAX_COLLECTIONS: usize = 64;

/// `grants.collections`: which collections a pipeline may search and change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// What it may search and read: names, or prefixes such as `notes-*`.
    pub read: Scope,
    /// What it may change. Answers of a pipeline that imports the writer are never cached.
    pub write: Scope,
}

/// What searching knows about a call.
pub struct Context {
    tenant: Arc<Tenant>,
    scope: Scope,
    /// The state that the call reads.
    pub reading: Arc<Reading>,
    /// Where large searches are done.
    searching: Account,
    reads: Mutex<ReadSet>,
}

impl Context {
    /// The context of a call that has read nothing, and may read the collections of `scope` in the
    /// state of `reading`. Its large searches are charged to `searching`.
    #[must_use]
    pub fn new(
        tenant: Arc<Tenant>,
        scope: Scope,
        reading: Arc<Reading>,
        searching: Account,
    ) -> Self {
        Self { tenant, scope, reading, searching, reads: Mutex::default() }
    }

    /// What has been read so far, whether it existed or not.
    #[must_use]
    pub fn reads(&self) -> ReadSet {
        self.reads.lock().clone()
    }

    /// Records what the call reads of `collection`, whether it exists or not, and returns the
    /// collection's state.
    fn read(
        &self,
        collection: &Name,
        reads: impl IntoIterator<Item = Read>,
    ) -> Result<Arc<dyn backend::Snapshot>, VectorError> {
        {
            let mut noted = self.reads.lock();
            let full = noted.len() >= MAX_COLLECTIONS && {
                let names: BTreeSet<_> = noted.collections().collect();
                names.len() >= MAX_COLLECTIONS && !names.contains(collection)
            };
            if full {
                let reason = format!("a request can read at most {MAX_COLLECTIONS} collections");
                return Err(VectorError::Invalid(reason));
            }
            for read in reads {
                noted.insert(read);
            }
        }
        match self.reading.read(collection) {
            Ok(Some(state)) => Ok(state),
            Ok(None) => Err(VectorError::UnknownCollection(collection.to_string())),
            // The run is done again, whatever the guest makes of this.
            Err(Behind) => Err(VectorError::Unavailable(
                "the search index has not reached the demanded position".to_owned(),
            )),
        }
    }
}

/// Links the types of hits and collections, which every pipeline may use.
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
    collections::add_to_linker::<_, Linked>(linker, view)?;
    plain_collections::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

impl HostCollection for View<'_, Context> {
    fn name(&mut self, collection: Resource<Collection>) -> wasmtime::Result<String> {
        let name: &Name = resources::get(self.table, &collection)?;
        Ok(name.as_str().to_owned())
    }

    fn drop(&mut self, collection: Resource<Collection>) -> wasmtime::Result<()> {
        resources::take::<Name, _>(self.table, &collection)?;
        Ok(())
    }
}

/// The result of `search` and `get`.
type Found = Result<Resource<types::Hits>, VectorError>;

impl collections::Host for View<'_, Context> {
    fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Collection>, VectorError>> {
        open(self, name)
    }
}

impl<T: Send> collections::HostWithStore<T> for Linked {
    async fn search(
        accessor: &Accessor<T, Self>,
        collection: Resource<Collection>,
        query: Query,
    ) -> wasmtime::Result<Found> {
        let (context, call, query) = accessor.with(|mut state| {
            let View { context, call, table } = state.get();
            let query = checked_query(context, call, table, &collection, query)?;
            Ok::<_, wasmtime::Error>((Arc::clone(context), Arc::clone(call), query))
        })?;
        let outcome = noted(&call, search(&context, &call, query).await);
        accessor.with(|mut state| keep(state.get().table, outcome))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        collection: Resource<Collection>,
        ids: Vec<String>,
    ) -> wasmtime::Result<Found> {
        accessor.with(|mut state| {
            let View { context, call, table } = state.get();
            let name: &Name = resources::get(table, &collection)?;
            let outcome = noted(call, get(context, call, name, &ids));
            keep(table, outcome)
        })
    }
}

impl plain_collections::Host for View<'_, Context> {
    fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Collection>, VectorError>> {
        open(self, name)
    }

    async fn search(
        &mut self,
        collection: Resource<Collection>,
        query: Query,
    ) -> wasmtime::Result<Found> {
        let query = checked_query(self.context, self.call, self.table, &collection, query)?;
        let outcome = noted(self.call, search(self.context, self.call, query).await);
        keep(self.table, outcome)
    }

    async fn get(
        &mut self,
        collection: Resource<Collection>,
        ids: Vec<String>,
    ) -> wasmtime::Result<Found> {
        let name: &Name = resources::get(self.table, &collection)?;
        let outcome = noted(self.call, get(self.context, self.call, name, &ids));
        keep(self.table, outcome)
    }
}

/// Does not check that the collection exists. Searching and reading it does.
fn open(
    view: &mut View<'_, Context>,
    name: String,
) -> wasmtime::Result<Result<Resource<Collection>, VectorError>> {
    let Ok(name) = Name::new(&name) else {
        return Ok(Err(VectorError::UnknownCollection(name)));
    };
    if !view.context.scope.covers(&name) {
        let tenant = view.context.tenant.name.as_str();
        let request_id = view.call.request_id.as_str();
        info!(tenant, collection = name.as_str(), request_id, "read denied: not granted");
        return Ok(Err(VectorError::Denied(name.into())));
    }
    Ok(Ok(resources::push(view.table, name)?))
}

/// Gives the guest a handle to the hits.
fn keep(
    table: &mut ResourceTable,
    outcome: Result<FoundHits, VectorError>,
) -> wasmtime::Result<Found> {
    match outcome {
        Ok(found) => Ok(Ok(resources::push(table, found)?)),
        Err(error) => Ok(Err(error)),
    }
}

/// The query in the host's own types, charged to the request before it waits. The outer error means that a handle does not exist.
fn checked_query(
    context: &Context,
    call: &Call,
    table: &ResourceTable,
    collection: &Resource<Collection>,
    query: Query,
) -> wasmtime::Result<Result<(Name, backend::Query), VectorError>> {
    let name: &Name = resources::get(table, collection)?;
    let nearest = match &query.nearest {
        None => None,
        Some(handle) => {
            let vector = resources::get::<Vector, Embedding>(table, handle)?;
            if *vector.model_digest != *context.reading.embedder().model_digest() {
                let reason =
                    "the vector was made by another model than the collection's".to_owned();
                return Ok(Err(VectorError::Invalid(reason)));
            }
            Some(vector.embedding.clone())
        }
    };
    if query.limit > MAX_LIMIT {
        let reason = format!("the limit is {}; at most {MAX_LIMIT} is allowed", query.limit);
        return Ok(Err(VectorError::Invalid(reason)));
    }
    if query.text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        let reason = format!("the text is longer than {MAX_TEXT_BYTES} bytes");
        return Ok(Err(VectorError::Invalid(reason)));
    }
    let query = backend_query(nearest, query);
    let filter_bytes = query.filter.as_ref().map_or(0, Filter::bytes);
    if !call.spend(query.text.as_ref().map_or(0, String::len) + filter_bytes) {
        return Ok(Err(VectorError::QuotaExceeded));
    }
    if let Some(Err(error)) = query.filter.as_ref().map(Filter::validate) {
        return Ok(Err(VectorError::Invalid(error.to_string())));
    }
    Ok(Ok((name.clone(), query)))
}

async fn search(
    context: &Context,
    call: &Arc<Call>,
    query: Result<(Name, backend::Query), VectorError>,
) -> Result<FoundHits, VectorError> {
    let (collection, query) = query?;
    let state = context.read(&collection, [Read::Collection(collection.clone())])?;
    let (budget, searching) = (Arc::clone(call), context.searching.clone());
    let tenant = fault::is(Fault::HitTextOfAnotherVersion).then(|| Arc::clone(&context.tenant));
    let work = async move {
        let hits = state.search(query, budget.deadline, &searching).await;
        let mut hits = hits.map_err(|error| vector_error(&budget, error))?;
        if let Some(tenant) = tenant {
            late_texts(&tenant, &collection, &mut hits).await;
        }
        let hits = hits.into_iter().map(|hit| charged(&budget, hit));
        hits.collect::<Result<_, _>>().map(FoundHits)
    };
    host_call::run(call, "search", work).await.map_err(host_call_error)?
}

/// Only for a fault: gives hits the text and the metadata that their documents have a little later,
/// as if they were fetched when the search is done.
async fn late_texts(tenant: &Tenant, collection: &Name, hits: &mut [backend::Hit]) {
    sleep(LATE).await;
    let newest = tenant.progress.view();
    let Some(newest) = newest.snapshot(collection) else { return };
    for hit in hits {
        if let Some((_, content)) = newest.document(&hit.document) {
            hit.content = content;
        }
    }
}

/// Whole documents by id. Those that do not exist are omitted.
fn get(
    context: &Context,
    call: &Arc<Call>,
    collection: &Name,
    ids: &[String],
) -> Result<FoundHits, VectorError> {
    if ids.len() > MAX_IDS {
        return Err(VectorError::Invalid(format!(
            "the call has {} ids; at most {MAX_IDS} are allowed",
            ids.len()
        )));
    }
    if !call.spend(ids.iter().map(String::len).sum()) {
        return Err(VectorError::QuotaExceeded);
    }
    // What is not an id names no document.
    let ids: Vec<_> = ids.iter().filter_map(|id| DocumentId::new(id).ok()).collect();
    let reads: Vec<_> = if ids.len() <= MAX_DOCUMENT_READS {
        let documents = ids.iter().map(|id| Read::Document(collection.clone(), id.clone()));
        documents.chain([Read::Lifetime(collection.clone())]).collect()
    } else {
        vec![Read::Collection(collection.clone())]
    };
    let state = context.read(collection, reads)?;
    let mut found = Vec::new();
    for id in ids {
        if let Some((version, content)) = state.document(&id) {
            found.push(charged(call, whole_document(id, version, content)?)?);
        }
    }
    Ok(FoundHits(found))
}

/// Notes a failure of the host.
fn noted(call: &Call, outcome: Result<FoundHits, VectorError>) -> Result<FoundHits, VectorError> {
    // How many steps a search takes depends on how the index is laid out, not on its position alone.
    if let Err(
        VectorError::TooCostly
        | VectorError::Unavailable(_)
        | VectorError::TimedOut
        | VectorError::Failed(_),
    ) = outcome
    {
        call.note_failure();
    }
    outcome
}

/// Charges the request's budget for a hit that the host keeps for it.
fn charged(call: &Call, hit: backend::Hit) -> Result<backend::Hit, VectorError> {
    let bytes = size_of::<backend::Hit>() + hit.text().len() + hit.content.metadata.len();
    if call.spend(bytes) { Ok(hit) } else { Err(VectorError::QuotaExceeded) }
}

fn whole_document(
    id: DocumentId,
    version: Position,
    content: Arc<backend::Content>,
) -> Result<backend::Hit, VectorError> {
    let end = u32::try_from(content.text.len())
        .map_err(|_| VectorError::Failed("the document is too long".to_owned()))?;
    Ok(backend::Hit { document: id, version, chunk: 0, score: 1.0, start: 0, end, content })
}

fn vector_error(call: &Call, error: backend::VectorError) -> VectorError {
    match error {
        backend::VectorError::InvalidQuery(reason) => VectorError::Invalid(reason),
        backend::VectorError::TooCostly => VectorError::TooCostly,
        backend::VectorError::TimedOut => VectorError::TimedOut,
        backend::VectorError::Failed(reason) => {
            // The reason may name files, so the guest learns only that the search failed.
            error!(request_id = call.request_id.as_str(), reason, "the vector store failed");
            VectorError::Failed("the vector store failed".to_owned())
        }
    }
}

fn host_call_error(error: HostCallError) -> VectorError {
    match error {
        HostCallError::QuotaExceeded => VectorError::QuotaExceeded,
        HostCallError::TimedOut => VectorError::TimedOut,
        HostCallError::Panicked => VectorError::Failed(error.to_string()),
    }
}
