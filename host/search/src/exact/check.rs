//! What the index requires of a document. A failure is a bug in Weir or, if the document comes
//! from the file, damage.

use crate::{IndexedDocument, VectorError};
use weir_core::name::DocumentId;

/// Checks that the index can hold `document`.
pub(super) fn check(
    id: &DocumentId,
    document: &IndexedDocument,
    dimensions: usize,
) -> Result<(), VectorError> {
    for chunk in &document.chunks {
        let vector = &chunk.embedding.0;
        let fault = if vector.len() != dimensions {
            "a vector with the wrong number of components"
        } else if !vector.iter().all(|component| component.is_finite()) {
            "a vector that is not finite"
        } else if !chunk.terms.is_sorted_by(|(a, _), (b, _)| a < b) {
            "terms that are not sorted and distinct"
        } else if document.content.text.get(chunk.start as usize..chunk.end as usize).is_none() {
            "a range that is not in the text"
        } else {
            continue;
        };
        let reason = format!("a chunk of the document '{id}' has {fault}");
        return Err(VectorError::Failed(reason));
    }
    Ok(())
}
