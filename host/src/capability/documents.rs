//! `weir:documents/writer`: a guest's writes, by the same service as the clients' own.

use std::sync::Arc;

use tracing::error;
use wasmtime::component::Accessor;
use weir_backends::name::{DocumentId, Name};
use weir_backends::sql::SqlError;
use weir_bindings::pipeline::weir::documents::writer::{self, Document, DocumentError};

use weir_cache::json::{JsonLimits, canonicalize};

use super::host_call::{self, HostCallError};
use crate::documents::{DocumentError as WriteError, IncomingDocument};
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

/// Documents of one call.
const MAX_DOCUMENTS: usize = 1_000;

async fn put(
    call: &Arc<Call>,
    collection: String,
    documents: Vec<Document>,
) -> Result<u64, DocumentError> {
    let name = collection_name(&collection)?;
    let bytes = documents.iter().map(|one| one.id.len() + one.text.len() + one.metadata.len());
    if documents.len() > MAX_DOCUMENTS || !call.spend(bytes.sum()) {
        return Err(DocumentError::QuotaExceeded);
    }
    let documents = documents.into_iter().map(incoming).collect::<Result<Vec<_>, _>>()?;
    let service = Arc::clone(&call.services.documents);
    let work = async move {
        let turn = service.turn().await?;
        service.put(turn, &name, documents, None).await
    };
    match host_call::run(call, "put", work).await {
        Ok(Ok(committed)) => Ok(call.wrote(committed.position).0),
        Ok(Err(error)) => Err(write_error(error)),
        Err(error) => Err(host_call_error(error)),
    }
}

/// Deletes each id that is there; the position is that of the last change, or the one that
/// nothing was there at.
async fn delete(
    call: &Arc<Call>,
    collection: String,
    ids: Vec<String>,
) -> Result<u64, DocumentError> {
    let name = collection_name(&collection)?;
    if ids.len() > MAX_DOCUMENTS || !call.spend(ids.iter().map(String::len).sum()) {
        return Err(DocumentError::QuotaExceeded);
    }
    let id = |id: &String| DocumentId::new(id).map_err(|error| invalid(id, &error));
    let ids = ids.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let service = Arc::clone(&call.services.documents);
    let writer = Arc::clone(call);
    let work = async move {
        let mut position = service.position();
        for id in &ids {
            if let Some(deleted_at) = service.delete(&name, id).await? {
                position = writer.wrote(deleted_at);
            }
        }
        Ok(position)
    };
    match host_call::run(call, "delete", work).await {
        Ok(Ok(position)) => Ok(position.0),
        Ok(Err(error)) => Err(write_error(error)),
        Err(error) => Err(host_call_error(error)),
    }
}

fn collection_name(name: &str) -> Result<Name, DocumentError> {
    Name::new(name).map_err(|_| DocumentError::UnknownCollection(name.to_owned()))
}

fn incoming(document: Document) -> Result<IncomingDocument, DocumentError> {
    let id = DocumentId::new(&document.id).map_err(|error| invalid(&document.id, &error))?;
    if document.text.contains('\0') {
        return Err(invalid(&document.id, &"a text has no NUL"));
    }
    let metadata = if document.metadata.is_empty() { "{}" } else { &document.metadata };
    let metadata = canonicalize(metadata, JsonLimits::default())
        .map_err(|error| invalid(&document.id, &error))?;
    if metadata.text().first() != Some(&b'{') {
        return Err(invalid(&document.id, &"metadata is a JSON object"));
    }
    let metadata =
        std::str::from_utf8(metadata.text()).map_err(|error| invalid(&document.id, &error))?;
    Ok(IncomingDocument { id, text: document.text.into(), metadata: metadata.into() })
}

fn invalid(id: &str, reason: &dyn std::fmt::Display) -> DocumentError {
    DocumentError::Invalid(format!("document '{}': {reason}", id.escape_debug()))
}

fn write_error(error: WriteError) -> DocumentError {
    match error {
        WriteError::Overloaded | WriteError::Truth(SqlError::Overloaded) => {
            DocumentError::Unavailable("too many documents are being written".to_owned())
        }
        WriteError::TooLarge(reason) => DocumentError::Invalid(reason),
        WriteError::Truth(SqlError::UnknownCollection(name)) => {
            DocumentError::UnknownCollection(name.into())
        }
        WriteError::Truth(
            error @ (SqlError::DuplicateDocument(_) | SqlError::InvalidDocument { .. }),
        ) => DocumentError::Invalid(error.to_string()),
        error => {
            // It may name files; the guest learns only that it failed.
            error!(%error, "documents could not be written");
            DocumentError::Unavailable("the document store failed".to_owned())
        }
    }
}

fn host_call_error(error: HostCallError) -> DocumentError {
    match error {
        HostCallError::TimedOut => DocumentError::TimedOut,
        HostCallError::Panicked => DocumentError::Unavailable(error.to_string()),
    }
}
