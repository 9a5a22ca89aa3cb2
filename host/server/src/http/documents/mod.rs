//! Collections and documents over HTTP. [`parse`] parses requests, the tenant's
//! [service](weir_runtime::tenant::documents) carries them out, and responses carry the
//! position that they are exact at.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use weir_core::Commit;
use weir_core::name::{DocumentId, Name};
use weir_runtime::tenant::Tenant;
use weir_runtime::tenant::documents::DocumentError;
use weir_store::{Collection, Committed, IdempotencyKey, TruthError};

use super::app::App;
use super::body::{BodyLimits, ChargedBody};
use super::json::{self, sentence};
use super::path::{CollectionPath, DocumentPath};
use super::position;
use super::problem::{Problem, codes};
use super::tenant::TenantOf;

mod parse;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const OVERLOADED_RETRY_SECONDS: u32 = 2;

type Result = std::result::Result<Response, Problem>;

#[derive(Serialize)]
struct CollectionBody<'a> {
    name: &'a str,
    documents: u64,
    bytes: u64,
    created: u64,
}

impl<'a> CollectionBody<'a> {
    fn of(collection: &'a Collection) -> Self {
        Self {
            name: collection.name.as_str(),
            documents: collection.documents,
            bytes: collection.bytes,
            created: collection.created.position.0,
        }
    }
}

/// The result of a write.
#[derive(Serialize)]
struct WriteBody {
    position: u64,
    /// Whether it can be searched, or is only durable so far.
    searchable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<usize>,
    /// Whether it had already been carried out under its idempotency key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// `GET /v1/collections`
pub(super) async fn collections(TenantOf(tenant): TenantOf, headers: HeaderMap) -> Result {
    position::check_demand(&headers, &tenant).await?;
    let (collections, as_of) = tenant.documents.collections().await?;
    let collections: Vec<_> = collections.iter().map(CollectionBody::of).collect();
    Ok(at(as_of, StatusCode::OK, &serde_json::json!({ "collections": collections })))
}

/// `GET /v1/collections/{collection}`
pub(super) async fn collection(
    TenantOf(tenant): TenantOf,
    CollectionPath(name): CollectionPath,
    headers: HeaderMap,
) -> Result {
    position::check_demand(&headers, &tenant).await?;
    let (collection, as_of) = tenant.documents.collection(&name).await?;
    match collection {
        Some(collection) => Ok(at(as_of, StatusCode::OK, &CollectionBody::of(&collection))),
        None => Err(unknown_collection(&name)),
    }
}

/// `PUT /v1/collections/{collection}`: 201 if it is created, 200 if it exists, 202 if it cannot be
/// searched yet.
pub(super) async fn create_collection(
    TenantOf(tenant): TenantOf,
    CollectionPath(name): CollectionPath,
) -> Result {
    let (collection, made) = tenant.documents.create_collection(&name).await?;
    let commit = made.unwrap_or(collection.created);
    let status = if !tenant.documents.searchable(&[(&name, commit)]).await {
        StatusCode::ACCEPTED
    } else if made.is_some() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(at(commit, status, &CollectionBody::of(&collection)))
}

/// `DELETE /v1/collections/{collection}`
pub(super) async fn drop_collection(
    TenantOf(tenant): TenantOf,
    CollectionPath(name): CollectionPath,
) -> Result {
    match tenant.documents.drop_collection(&name).await? {
        Some(commit) => Ok(written(&tenant, &name, commit, None, false).await),
        None => Err(unknown_collection(&name)),
    }
}

/// `POST /v1/collections/{collection}/documents`: stores all documents or none.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    TenantOf(tenant): TenantOf,
    CollectionPath(collection): CollectionPath,
    request: Request,
) -> Result {
    let (head, body) = request.into_parts();
    let media = json::media(&head.headers).ok_or_else(|| {
        let detail = "Send documents as 'Content-Type: application/json', \
                      {\"documents\": […]}, or as 'application/x-ndjson', one per line.";
        Problem::new(codes::UNSUPPORTED_MEDIA_TYPE, detail)
    })?;
    let key = idempotency_key(&head.headers)?;
    let limits = &app.ingest;
    let body_limits = BodyLimits {
        max_bytes: limits.max_body_bytes,
        timeout: Duration::from_millis(limits.body_timeout_ms),
        min_bytes_per_second: app.server.min_body_bytes_per_second,
    };
    let body = app.document_bodies.read(&tenant.name, body, &head.headers, body_limits).await?;
    // Only now, so that nobody waits for a client that sends its body slowly.
    let turn = tenant.documents.turn().await?;
    let key =
        key.map(|key| IdempotencyKey { key, fingerprint: fingerprint(&collection, &body.bytes) });
    if let Some(key) = &key
        && let Some(committed) = tenant.documents.replayed(key).await?
    {
        return Ok(written(&tenant, &collection, committed.commit, None, true).await);
    }
    let max_documents = limits.max_documents;
    let parse = move |ChargedBody { bytes, held }| {
        let documents = parse::documents(media, &bytes, max_documents)?;
        Ok((documents, turn, held))
    };
    let (documents, turn, held) = app.parsing.parse(&tenant.name, body, parse).await?;
    let count = documents.len();
    // In a task of its own: the documents stay in memory until they are written, whether or not
    // the client waits, and so do the turn and what was taken of the memory for bodies.
    let write = app.lifecycle.detached.spawn({
        let (tenant, collection) = (Arc::clone(&tenant), collection.clone());
        async move {
            let committed = tenant.documents.put(turn, &collection, documents, key).await;
            drop(held);
            committed
        }
    });
    let Committed { commit, replayed } = write.await.map_err(Problem::internal)??;
    Ok(written(&tenant, &collection, commit, Some(count), replayed).await)
}

/// `GET /v1/collections/{collection}/documents/{id}`
pub(super) async fn document(
    TenantOf(tenant): TenantOf,
    DocumentPath(collection, id): DocumentPath,
    headers: HeaderMap,
) -> Result {
    #[derive(Serialize)]
    struct Body<'a> {
        id: &'a str,
        text: &'a str,
        metadata: &'a RawValue,
        version: u64,
        /// Why searches do not find it.
        #[serde(skip_serializing_if = "Option::is_none")]
        set_aside: Option<&'a str>,
    }
    position::check_demand(&headers, &tenant).await?;
    let (document, as_of) = tenant.documents.document(&collection, &id).await?;
    let document = document.ok_or_else(|| unknown_document(&collection, &id))?;
    let metadata = serde_json::from_str(&document.metadata).map_err(Problem::internal)?;
    let body = Body {
        id: document.id.as_str(),
        text: &document.text,
        metadata,
        version: document.version.0,
        set_aside: document.set_aside.as_deref(),
    };
    Ok(at(as_of, StatusCode::OK, &body))
}

/// `DELETE /v1/collections/{collection}/documents/{id}`
pub(super) async fn delete(
    TenantOf(tenant): TenantOf,
    DocumentPath(collection, id): DocumentPath,
) -> Result {
    match tenant.documents.delete(&collection, vec![id.clone()]).await? {
        Some(commit) => Ok(written(&tenant, &collection, commit, None, false).await),
        None => Err(unknown_document(&collection, &id)),
    }
}

/// Answers a write: 200 once it can be searched, 202 while it is only durable.
async fn written(
    tenant: &Tenant,
    collection: &Name,
    commit: Commit,
    documents: Option<usize>,
    replayed: bool,
) -> Response {
    let searchable = tenant.documents.searchable(&[(collection, commit)]).await;
    let status = if searchable { StatusCode::OK } else { StatusCode::ACCEPTED };
    let position = commit.position.0;
    at(commit, status, &WriteBody { position, searchable, documents, replayed })
}

fn at(commit: Commit, status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    position::stamp(response.headers_mut(), commit);
    response
}

/// A digest of what a request with an idempotency key asks for. A request with another digest
/// is a different request.
fn fingerprint(collection: &Name, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    // A name contains no zero byte.
    hasher.update(collection.as_str().as_bytes()).update(&[0]).update(body);
    *hasher.finalize().as_bytes()
}

fn idempotency_key(headers: &HeaderMap) -> std::result::Result<Option<String>, Problem> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => {
            let detail = "An Idempotency-Key has 1 to 255 visible ASCII characters.";
            Err(Problem::new(codes::INVALID_HEADER, detail))
        }
    }
}

fn unknown_collection(name: &Name) -> Problem {
    let detail = format!("There is no collection '{name}'; PUT /v1/collections/{name} creates it.");
    Problem::new(codes::UNKNOWN_COLLECTION, detail)
}

fn unknown_document(collection: &Name, id: &DocumentId) -> Problem {
    let detail = format!("There is no document '{id}' in the collection '{collection}'.");
    Problem::new(codes::UNKNOWN_DOCUMENT, detail)
}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Overloaded => {
                Self::new(codes::OVERLOADED, "Other documents are being written; try again soon.")
                    .retry_after(OVERLOADED_RETRY_SECONDS)
            }
            DocumentError::TooLarge(detail) => Self::new(codes::DOCUMENT_TOO_LARGE, detail),
            DocumentError::Truth(error) => Self::from(error),
            error @ DocumentError::Split(_) => Self::internal(error),
        }
    }
}

impl From<TruthError> for Problem {
    fn from(error: TruthError) -> Self {
        let said = sentence(&error.to_string());
        match error {
            TruthError::UnknownCollection(name) => unknown_collection(&name),
            TruthError::TooManyCollections { .. } => Self::new(codes::TOO_MANY_COLLECTIONS, said),
            // Not 507, which says that the server cannot, nor 429: waiting does not help.
            TruthError::QuotaExceeded { .. } => Self::new(codes::QUOTA_EXCEEDED, said),
            TruthError::TooManyDocuments { .. } => Self::new(codes::TOO_MANY_DOCUMENTS, said),
            TruthError::DuplicateDocument(_) | TruthError::InvalidDocument { .. } => {
                Self::new(codes::INVALID_DOCUMENT, said)
            }
            TruthError::IdempotencyKeyReused => Self::new(codes::IDEMPOTENCY_KEY_REUSED, said),
            TruthError::Overloaded => {
                Self::new(codes::OVERLOADED, said).retry_after(OVERLOADED_RETRY_SECONDS)
            }
            TruthError::BacklogFull { .. } => {
                Self::new(codes::BACKLOG_FULL, said).retry_after(OVERLOADED_RETRY_SECONDS)
            }
            TruthError::Cut(_) | TruthError::Trimmed { .. } => Self::internal(error),
            TruthError::Locked { .. }
            | TruthError::ReadOnly { .. }
            | TruthError::Failed(_)
            | TruthError::Migration(_) => {
                Self::new(codes::UNAVAILABLE, "The document store is not available.").logged(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn idempotency_keys_are_visible_ascii() {
        let longest = "k".repeat(255);
        let too_long = "k".repeat(256);
        for (given, valid) in [
            ("a", true),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("\u{e4}", false),
        ] {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(given.as_bytes()) {
                headers.insert(IDEMPOTENCY_KEY, value);
            }
            assert_eq!(idempotency_key(&headers).is_ok(), valid, "{given}");
        }
        assert!(matches!(idempotency_key(&HeaderMap::new()), Ok(None)));
    }
}
