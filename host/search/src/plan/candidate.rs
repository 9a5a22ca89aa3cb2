//! What a leg finds: a chunk with its score, which borrows from the engine. Its order is that of all
//! answers: by score, with ties ordered by document id, then by chunk.

use std::cmp::Ordering;

use weir_core::name::DocumentId;

/// A chunk with its score. A greater candidate is a better one.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a, T> {
    /// Cosine, BM25 or the fused score.
    pub score: f32,
    /// The document.
    pub document: &'a DocumentId,
    /// The index of the chunk within its document.
    pub chunk: u32,
    /// The engine's own data about the chunk, which does not count when candidates are compared.
    pub of: T,
}

impl<T> Ord for Candidate<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score
            .then_with(|| other.document.cmp(self.document))
            .then_with(|| other.chunk.cmp(&self.chunk))
    }
}

impl<T> PartialOrd for Candidate<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Candidate<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Candidate<'_, T> {}
