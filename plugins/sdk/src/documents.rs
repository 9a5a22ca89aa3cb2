//! Writing documents. Needs the grant `weir:documents/writer`. A pipeline that imports it is never
//! cached or shared, and is refused on GET and QUERY.

use serde_json::{Map, Value};

use crate::bindings::pipeline::weir::documents::types as wit;
use crate::bindings::pipeline::weir::documents::writer;

/// A document to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    id: String,
    text: String,
    metadata: Option<Map<String, Value>>,
}

impl Document {
    /// A document without metadata. A document with the same id is replaced.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into(), metadata: None }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    fn into_wit(self) -> wit::Document {
        let metadata = self.metadata.map(|metadata| Value::Object(metadata).to_string());
        wit::Document { id: self.id, text: self.text, metadata }
    }
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// There is no collection of this name.
    UnknownCollection(String),
    /// The grant does not cover the collection of this name.
    Denied(String),
    /// The call breaks a rule: which document or id, and why.
    Invalid(String),
    /// The request has passed more bytes to the host than it may, or the tenant's quota of
    /// documents is used up.
    QuotaExceeded,
    /// The store accepts no writes now, and nothing was written. A later request may succeed.
    Unavailable(String),
    /// The request's deadline has passed. The write may or may not have happened.
    TimedOut,
    /// The store failed. The write may or may not have happened.
    Failed(String),
}

impl From<wit::DocumentError> for DocumentError {
    fn from(error: wit::DocumentError) -> Self {
        match error {
            wit::DocumentError::UnknownCollection(name) => Self::UnknownCollection(name),
            wit::DocumentError::Denied(name) => Self::Denied(name),
            wit::DocumentError::Invalid(reason) => Self::Invalid(reason),
            wit::DocumentError::QuotaExceeded => Self::QuotaExceeded,
            wit::DocumentError::Unavailable(reason) => Self::Unavailable(reason),
            wit::DocumentError::TimedOut => Self::TimedOut,
            wit::DocumentError::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// Puts all of the documents or none, replacing those with the same ids, and returns the position
/// of the change.
///
/// # Errors
/// Nothing was written, or it is not known whether it was.
pub async fn put(
    collection: &str,
    documents: impl IntoIterator<Item = Document>,
) -> Result<u64, DocumentError> {
    let documents = documents.into_iter().map(Document::into_wit).collect();
    Ok(writer::put(collection.into(), documents).await?)
}

/// Deletes all of the documents or none, and returns the position of the change. Ids that do not
/// exist are skipped.
///
/// # Errors
/// Nothing was deleted, or it is not known whether it was.
pub async fn delete(
    collection: &str,
    ids: impl IntoIterator<Item = impl Into<String>>,
) -> Result<u64, DocumentError> {
    Ok(writer::delete(collection.into(), ids.into_iter().map(Into::into).collect()).await?)
}
