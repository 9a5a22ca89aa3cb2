//! `weir:documents/writer`: a guest's writes, through the same service as writes by clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, info};
use wasmtime::component::{Accessor, HasData, Linker};
use weir_bindings::pipeline::weir::documents::types::{self, Document, DocumentError};
use weir_bindings::pipeline::weir::documents::writer;
use weir_bindings::plain::weir::documents::plain_writer;
use weir_core::Commit;
use weir_core::json::{JsonLimits, canonicalize};
use weir_core::name::{DocumentId, Name};
use weir_core::pattern::Scope;
use weir_store::TruthError;

use super::call::{Call, View};
use super::host_call::{self, HostCallError};
use crate::tenant::Tenant;
use crate::tenant::documents::{DocumentError as WriteError, IncomingDocument};

/// The interface that needs the grant, and its plain variant.
pub(super) const INTERFACES: [&str; 2] = ["weir:documents/writer", "weir:documents/plain-writer"];

/// The most documents of one call.
const MAX_DOCUMENTS: usize = 1_000;

/// What the writer knows about a call.
pub struct Context {
    tenant: Arc<Tenant>,
    scope: Scope,
    wrote: Mutex<Wrote>,
}

/// The commit of the call's last write to each collection.
pub type Wrote = BTreeMap<Name, Commit>;

impl Context {
    /// The context of a call that may write to the collections of `scope`.
    #[must_use]
    pub fn new(tenant: Arc<Tenant>, scope: Scope) -> Self {
        Self { tenant, scope, wrote: Mutex::default() }
    }

    /// The commits of the call's writes; empty if it has not written.
    #[must_use]
    pub fn wrote(&self) -> Wrote {
        self.wrote.lock().clone()
    }

    fn note_write(&self, collection: Name, commit: Commit) -> u64 {
        let mut wrote = self.wrote.lock();
        let last = wrote.entry(collection).or_default();
        *last = commit.max(*last);
        commit.position.0
    }

    /// The name as a collection's name, if it is valid and the grant covers it.
    fn collection(&self, call: &Call, name: &str) -> Result<Name, DocumentError> {
        let Ok(name) = Name::new(name) else {
            return Err(DocumentError::UnknownCollection(name.to_owned()));
        };
        if self.scope.covers(&name) {
            return Ok(name);
        }
        info!(
            tenant = self.tenant.name.as_str(),
            collection = name.as_str(),
            request_id = call.request_id.as_str(),
            "write denied: not granted"
        );
        Err(DocumentError::Denied(name.into()))
    }
}

/// Links the types of documents, which every pipeline may use.
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
    writer::add_to_linker::<_, Linked>(linker, view)?;
    plain_writer::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

impl types::Host for View<'_, Context> {}

impl writer::Host for View<'_, Context> {}

impl<T: Send> writer::HostWithStore<T> for Linked {
    async fn put(
        accessor: &Accessor<T, Self>,
        collection: String,
        documents: Vec<Document>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        let (context, call) = shared(accessor);
        Ok(put(&context, &call, &collection, documents).await)
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        collection: String,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        let (context, call) = shared(accessor);
        Ok(delete(&context, &call, &collection, &ids).await)
    }
}

impl plain_writer::Host for View<'_, Context> {
    async fn put(
        &mut self,
        collection: String,
        documents: Vec<Document>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        Ok(put(self.context, self.call, &collection, documents).await)
    }

    async fn delete(
        &mut self,
        collection: String,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<u64, DocumentError>> {
        Ok(delete(self.context, self.call, &collection, &ids).await)
    }
}

fn shared<T: Send>(accessor: &Accessor<T, Linked>) -> (Arc<Context>, Arc<Call>) {
    accessor.with(|mut state| {
        let View { context, call, .. } = state.get();
        (Arc::clone(context), Arc::clone(call))
    })
}

async fn put(
    context: &Context,
    call: &Arc<Call>,
    collection: &str,
    documents: Vec<Document>,
) -> Result<u64, DocumentError> {
    let name = context.collection(call, collection)?;
    check_count(documents.len())?;
    let bytes = documents
        .iter()
        .map(|one| one.id.len() + one.text.len() + one.metadata.as_ref().map_or(0, String::len));
    if !call.spend(bytes.sum()) {
        return Err(DocumentError::QuotaExceeded);
    }
    let documents = documents.into_iter().map(incoming).collect::<Result<Vec<_>, _>>()?;
    let (tenant, to) = (Arc::clone(&context.tenant), name.clone());
    let work = async move {
        let turn = tenant.documents.turn().await?;
        tenant.documents.put(turn, &to, documents, None).await
    };
    match host_call::run(call, "put", work).await {
        Ok(Ok(committed)) => Ok(context.note_write(name, committed.commit)),
        Ok(Err(error)) => Err(write_error(call, error)),
        Err(error) => Err(host_call_error(error)),
    }
}

/// Deletes all of the documents or none. Returns the position of the deletion or, if none of them
/// existed, a position at which that was so.
async fn delete(
    context: &Context,
    call: &Arc<Call>,
    collection: &str,
    ids: &[String],
) -> Result<u64, DocumentError> {
    let name = context.collection(call, collection)?;
    check_count(ids.len())?;
    if !call.spend(ids.iter().map(String::len).sum()) {
        return Err(DocumentError::QuotaExceeded);
    }
    let id = |id: &String| DocumentId::new(id).map_err(|error| invalid(id, &error));
    let ids = ids.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let (tenant, from) = (Arc::clone(&context.tenant), name.clone());
    let work = async move {
        let as_of = tenant.documents.head();
        Ok(tenant.documents.delete(&from, ids).await?.ok_or(as_of))
    };
    match host_call::run(call, "delete", work).await {
        Ok(Ok(Ok(deleted))) => Ok(context.note_write(name, deleted)),
        Ok(Ok(Err(as_of))) => Ok(as_of.position.0),
        Ok(Err(error)) => Err(write_error(call, error)),
        Err(error) => Err(host_call_error(error)),
    }
}

fn check_count(count: usize) -> Result<(), DocumentError> {
    if count <= MAX_DOCUMENTS {
        return Ok(());
    }
    Err(DocumentError::Invalid(format!(
        "the call has {count} documents; at most {MAX_DOCUMENTS} are allowed"
    )))
}

fn incoming(document: Document) -> Result<IncomingDocument, DocumentError> {
    let id = DocumentId::new(&document.id).map_err(|error| invalid(&document.id, &error))?;
    if document.text.contains('\0') {
        return Err(invalid(&document.id, &"the text must not contain NUL"));
    }
    let metadata = document.metadata.as_deref().unwrap_or("{}");
    let metadata = canonicalize(metadata, JsonLimits::default())
        .map_err(|error| invalid(&document.id, &error))?;
    if metadata.text().first() != Some(&b'{') {
        return Err(invalid(&document.id, &"metadata must be a JSON object"));
    }
    let metadata =
        std::str::from_utf8(metadata.text()).map_err(|error| invalid(&document.id, &error))?;
    Ok(IncomingDocument { id, text: document.text.into(), metadata: metadata.into() })
}

fn invalid(id: &str, reason: &dyn std::fmt::Display) -> DocumentError {
    DocumentError::Invalid(format!("document '{}': {reason}", id.escape_debug()))
}

fn write_error(call: &Call, error: WriteError) -> DocumentError {
    match error {
        WriteError::Overloaded | WriteError::Truth(TruthError::Overloaded) => {
            DocumentError::Unavailable("too many documents are being written".to_owned())
        }
        WriteError::Truth(error @ TruthError::BacklogFull { .. }) => {
            DocumentError::Unavailable(error.to_string())
        }
        WriteError::Truth(TruthError::QuotaExceeded { .. }) => DocumentError::QuotaExceeded,
        WriteError::TooLarge(reason) => DocumentError::Invalid(reason),
        WriteError::Truth(TruthError::UnknownCollection(name)) => {
            DocumentError::UnknownCollection(name.into())
        }
        WriteError::Truth(
            error @ (TruthError::DuplicateDocument(_) | TruthError::InvalidDocument { .. }),
        ) => DocumentError::Invalid(error.to_string()),
        error => {
            // The error may name files, so the guest learns only that the write failed.
            let request_id = call.request_id.as_str();
            error!(request_id, %error, "documents could not be written");
            DocumentError::Failed("the document store failed".to_owned())
        }
    }
}

fn host_call_error(error: HostCallError) -> DocumentError {
    match error {
        HostCallError::QuotaExceeded => DocumentError::QuotaExceeded,
        HostCallError::TimedOut => DocumentError::TimedOut,
        HostCallError::Panicked => DocumentError::Failed(error.to_string()),
    }
}
