//! A naive store that recomputes everything and ignores speed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::keyword::{Statistics, WeightedTerm};
use crate::plan::{Legs, Plan, Scope, answer, rank_order};
use crate::{Content, Hit, IndexChange, IndexedChunk, Query, Unit, VectorError};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::super::dot::dot;

#[derive(Clone, Debug, Default)]
pub(super) struct Model(BTreeMap<Name, Collection>);

#[derive(Clone, Debug, Default)]
struct Collection {
    documents: BTreeMap<DocumentId, Document>,
    statistics: Statistics,
    changed_chunks: u64,
}

#[derive(Clone, Debug)]
struct Document {
    version: Position,
    content: Arc<Content>,
    chunks: Vec<IndexedChunk>,
}

impl Model {
    pub(super) fn apply(&mut self, changes: Vec<IndexChange>, up_to: Position) {
        let mut before = self.0.clone();
        for change in changes {
            match change {
                IndexChange::Put { collection, document, version, content, chunks } => {
                    let collection = self.0.entry(collection).or_default();
                    collection.documents.insert(document, Document { version, content, chunks });
                }
                IndexChange::Delete { collection, document } => {
                    self.0.get_mut(&collection).map(|c| c.documents.remove(&document));
                }
                IndexChange::CreateCollection(name) => {
                    self.0.entry(name).or_default();
                }
                IndexChange::DropCollection(name) => {
                    before.remove(&name);
                    self.0.remove(&name);
                }
            }
        }
        for (name, collection) in &mut self.0 {
            let old = before.get(name);
            collection.changed_chunks += collection.differing_chunks(old);
            let roll = collection.statistics.is_outdated_by(collection.changed_chunks);
            if roll || old.is_none() {
                collection.statistics = collection.take_statistics(up_to);
                collection.changed_chunks = 0;
            }
        }
    }

    pub(super) fn search(&self, query: Query, dimensions: usize) -> Result<Vec<Hit>, VectorError> {
        let plan = Plan::new(query, dimensions)?;
        let unknown = || VectorError::UnknownCollection(plan.collection.clone());
        answer(&plan, self.0.get(&plan.collection).ok_or_else(unknown)?)
    }
}

impl Collection {
    fn differing_chunks(&self, old: Option<&Self>) -> u64 {
        let empty = Self::default();
        let old = old.unwrap_or(&empty);
        let ids: HashSet<_> = self.documents.keys().chain(old.documents.keys()).collect();
        let chunks = |document: Option<&Document>| document.map_or(0, |d| d.chunks.len() as u64);
        ids.into_iter()
            .map(|id| (self.documents.get(id), old.documents.get(id)))
            .filter(|(new, old)| format!("{new:?}") != format!("{old:?}"))
            .map(|(new, old)| chunks(new) + chunks(old))
            .sum()
    }

    fn take_statistics(&self, epoch: Position) -> Statistics {
        let mut document_frequency = HashMap::new();
        let (mut chunks, mut total_terms) = (0_u64, 0_u64);
        for chunk in self.documents.values().flat_map(|document| &document.chunks) {
            chunks += 1;
            for (term, count) in &chunk.terms {
                total_terms += u64::from(*count);
                *document_frequency.entry(Arc::clone(term)).or_insert(0) += 1;
            }
        }
        let average_terms = if chunks == 0 { 0.0 } else { total_terms as f64 / chunks as f64 };
        Statistics { epoch, chunks, average_terms, document_frequency }
    }

    fn rank(&self, scope: Scope<'_>, score: impl Fn(&IndexedChunk) -> Option<f32>) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (id, document) in &self.documents {
            if scope.filter.is_some_and(|filter| !filter.matches(&document.content.fields)) {
                continue;
            }
            for (chunk, number) in document.chunks.iter().zip(0..) {
                let Some(score) = score(chunk) else { continue };
                let IndexedChunk { start, end, .. } = *chunk;
                hits.push(Hit {
                    document: id.clone(),
                    version: document.version,
                    chunk: number,
                    score,
                    start,
                    end,
                    content: Arc::clone(&document.content),
                });
            }
        }
        hits.sort_by(rank_order);
        let mut seen = HashSet::new();
        hits.retain(|hit| scope.unit == Unit::Chunk || seen.insert(hit.document.clone()));
        hits.truncate(scope.depth);
        hits
    }
}

impl Legs for Collection {
    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError> {
        Ok(self.rank(scope, |chunk| Some(dot(vector, &chunk.embedding.0))))
    }

    fn keyword(&self, terms: &[WeightedTerm], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError> {
        let score = |chunk: &IndexedChunk| {
            let length = chunk.terms.iter().map(|(_, count)| count).sum();
            let count = |term: &Arc<str>| {
                chunk.terms.iter().find(|(t, _)| t == term).map_or(0, |(_, n)| *n)
            };
            let add = |sum: f32, WeightedTerm { term, weight }: &WeightedTerm| {
                sum + weight * self.statistics.saturation(count(term), length)
            };
            Some(terms.iter().fold(0.0, add)).filter(|score| *score > 0.0)
        };
        Ok(self.rank(scope, score))
    }
}
