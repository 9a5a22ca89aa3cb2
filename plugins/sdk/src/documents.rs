//! Writing documents. Needs the grant `weir:documents/writer`, and a pipeline that imports it
//! is never cached nor shared, and is refused on GET and QUERY.

pub use crate::bindings::pipeline::weir::documents::writer::{Document, DocumentError};

use crate::bindings::pipeline::weir::documents::writer;

/// Puts all of the documents or none, replacing those with the same ids, and answers the
/// position at which they are the truth.
pub async fn put(collection: &str, documents: Vec<Document>) -> Result<u64, DocumentError> {
    writer::put(collection.into(), documents).await
}

/// Deletes all of the documents or none, and answers the position of the change. Ids that are
/// not there are not an error.
pub async fn delete(
    collection: &str,
    ids: impl IntoIterator<Item = impl Into<String>>,
) -> Result<u64, DocumentError> {
    writer::delete(collection.into(), ids.into_iter().map(Into::into).collect()).await
}
