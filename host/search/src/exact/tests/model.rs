//! A naive store that recomputes everything and ignores speed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::filter::Compiled;
use crate::keyword::{Statistics, WeightedTerm, saturation};
use crate::plan::{Candidate, Found, Legs, Plan, Scope, answer};
use crate::{Base, Epoch, Hit, IndexPage, IndexedChunk, IndexedDocument, Query, Unit, VectorError};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::super::dot::dot;
use super::unlimited;

#[derive(Clone, Debug, Default)]
pub(super) struct Model(pub(super) BTreeMap<Name, Collection>);

#[derive(Clone, Debug, Default)]
pub(super) struct Collection {
    pub(super) documents: BTreeMap<DocumentId, IndexedDocument>,
    pub(super) statistics: Arc<Statistics>,
}

impl Model {
    pub(super) fn apply(&mut self, page: IndexPage) {
        if page.base != Base::Kept {
            self.0.remove(&page.collection);
        }
        if page.base == Base::Gone {
            return;
        }
        let collection = self.0.entry(page.collection).or_default();
        for (id, document) in page.documents {
            match document {
                Some(document) => collection.documents.insert(id, document),
                None => collection.documents.remove(&id),
            };
        }
        match page.epoch {
            Epoch::Kept => {}
            Epoch::Rolled => collection.statistics = collection.count(page.up_to.position).into(),
            Epoch::Given(statistics) => collection.statistics = statistics,
        }
    }
}

impl Collection {
    pub(super) fn search(&self, query: Query, dimensions: usize) -> Result<Vec<Hit>, VectorError> {
        answer(&Plan::new(query, dimensions)?, self, &unlimited())
    }

    fn count(&self, epoch: Position) -> Statistics {
        let mut document_frequency = HashMap::new();
        let mut chunks = 0;
        for chunk in self.documents.values().flat_map(|document| &document.chunks) {
            chunks += 1;
            for (term, _) in &chunk.terms {
                *document_frequency.entry(Arc::clone(term)).or_insert(0) += 1;
            }
        }
        Statistics { epoch, chunks, document_frequency }
    }

    fn rank(
        &self,
        scope: Scope<'_>,
        score: impl Fn(&IndexedChunk) -> Option<f32>,
    ) -> Found<'_, Self> {
        let mut found = Vec::new();
        for (id, document) in &self.documents {
            let matches =
                |filter: &Compiled| filter.matches(&document.content.fields, scope.budget);
            if scope.filter.is_some_and(|filter| matches(filter) == Ok(false)) {
                continue;
            }
            for (chunk, number) in document.chunks.iter().zip(0..) {
                let Some(score) = score(chunk) else { continue };
                found.push(Candidate { score, document: id, chunk: number, of: document });
            }
        }
        found.sort_by(|a, b| b.cmp(a));
        let mut seen = HashSet::new();
        found.retain(|candidate| scope.unit == Unit::Chunk || seen.insert(candidate.document));
        found.truncate(scope.depth);
        found
    }
}

impl Legs for Collection {
    type Of<'a> = &'a IndexedDocument;

    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Found<'_, Self>, VectorError> {
        Ok(self.rank(scope, |chunk| Some(dot(vector, &chunk.embedding.0))))
    }

    fn keyword(
        &self,
        terms: &[WeightedTerm],
        scope: Scope<'_>,
    ) -> Result<Found<'_, Self>, VectorError> {
        let score = |chunk: &IndexedChunk| {
            let length = chunk.terms.iter().map(|(_, count)| count).sum();
            let count = |term: &Arc<str>| {
                chunk.terms.iter().find(|(t, _)| t == term).map_or(0, |(_, n)| *n)
            };
            let add = |sum: f32, WeightedTerm { term, weight }: &WeightedTerm| {
                sum + weight * saturation(count(term), length)
            };
            Some(terms.iter().fold(0.0, add)).filter(|score| *score > 0.0)
        };
        Ok(self.rank(scope, score))
    }

    fn hit(candidate: Candidate<'_, &IndexedDocument>) -> Hit {
        let Candidate { score, document, chunk, of } = candidate;
        let IndexedChunk { start, end, .. } = of.chunks[chunk as usize];
        let content = Arc::clone(&of.content);
        Hit { document: document.clone(), version: of.version, chunk, score, start, end, content }
    }
}
