//! The searchable state: collections of documents, and the two legs that search them.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::filter::Filter;
use crate::keyword::{Statistics, WeightedTerm};
use crate::plan::{Legs, Scope};
use crate::{Content, Hit, IndexedChunk, Unit, VectorError};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::dot::dot;
use super::postings::{Postings, RowTerms};
use super::rank::{Candidate, Top};
use super::rows::Rows;

/// All collections, by name.
pub(super) type Collections = HashMap<Name, Collection>;

/// A document from a batch or from the file.
#[derive(Clone, Debug)]
pub(super) struct NewDocument {
    pub(super) version: Position,
    pub(super) content: Arc<Content>,
    pub(super) chunks: Vec<IndexedChunk>,
}

#[derive(Debug)]
struct Document {
    version: Position,
    content: Arc<Content>,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    start: u32,
    end: u32,
    /// The row of its vector and its postings.
    row: u32,
    terms: RowTerms,
}

#[derive(Debug)]
pub(super) struct Collection {
    /// Contiguous, so that a scan reads memory in order.
    documents: IndexMap<DocumentId, Document>,
    rows: Rows,
    postings: Postings,
    chunks: u64,
    statistics: Arc<Statistics>,
    changed_chunks: u64,
}

impl Collection {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            documents: IndexMap::new(),
            rows: Rows::new(dimensions),
            postings: Postings::default(),
            chunks: 0,
            statistics: Arc::default(),
            changed_chunks: 0,
        }
    }

    /// Gives the document the content `new`, whatever it had before.
    pub(super) fn replace(&mut self, id: DocumentId, new: Option<NewDocument>) {
        if let Some(old) = self.documents.swap_remove(&id) {
            self.chunks -= old.chunks.len() as u64;
            for chunk in old.chunks {
                self.postings.remove(chunk.row, &chunk.terms);
                self.rows.remove(chunk.row);
            }
        }
        let Some(new) = new else { return };
        self.chunks += new.chunks.len() as u64;
        let mut index = |chunk: IndexedChunk| {
            let row = self.rows.insert(&chunk.embedding.0);
            let terms = self.postings.insert(row, &chunk.terms);
            Chunk { start: chunk.start, end: chunk.end, row, terms }
        };
        let chunks = new.chunks.into_iter().map(&mut index).collect();
        let document = Document { version: new.version, content: new.content, chunks };
        self.documents.insert(id, document);
    }

    /// Starts an epoch with `statistics` if given; otherwise continues the current one.
    pub(super) fn set_epoch(&mut self, statistics: Option<Arc<Statistics>>, changed_chunks: u64) {
        if let Some(statistics) = statistics {
            self.statistics = statistics;
        }
        self.changed_chunks = changed_chunks;
    }

    /// Chunks written or removed since the statistics were taken.
    pub(super) fn changed_chunks(&self) -> u64 {
        self.changed_chunks
    }

    /// The most rows that a dense search visits.
    pub(super) fn rows(&self) -> usize {
        self.rows.used()
    }

    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    pub(super) fn postings(&self) -> &Postings {
        &self.postings
    }

    /// The terms of each chunk of the document; `None` if the document does not exist.
    pub(super) fn chunks_of(
        &self,
        id: &DocumentId,
    ) -> Option<impl ExactSizeIterator<Item = impl Iterator<Item = (&Arc<str>, u32)>>> {
        let named = |(id, count): &(u32, u32)| (self.postings.term(*id), *count);
        let document = self.documents.get(id)?;
        Some(document.chunks.iter().map(move |chunk| chunk.terms.iter().map(named)))
    }

    /// Whether the document already equals `new`.
    pub(super) fn holds(&self, id: &DocumentId, new: &NewDocument) -> bool {
        let same_chunk = |(old, new): (&Chunk, &IndexedChunk)| {
            let terms = old.terms.iter().map(|(id, count)| (self.postings.term(*id), count));
            (old.start, old.end) == (new.start, new.end)
                && self.rows.get(old.row) == &*new.embedding.0
                && terms.eq(new.terms.iter().map(|(term, count)| (term, count)))
        };
        self.documents.get(id).is_some_and(|old| {
            (old.version, &old.content) == (new.version, &new.content)
                && old.chunks.len() == new.chunks.len()
                && old.chunks.iter().zip(&new.chunks).all(same_chunk)
        })
    }

    /// The best chunks or documents in `scope`. A chunk without a score is not found.
    fn rank(&self, scope: Scope<'_>, score: impl Fn(u32) -> Option<f32>) -> Vec<Hit> {
        let mut top = Top::new(scope.depth);
        for (id, document) in &self.documents {
            let may_enter = || {
                scope.filter.is_none_or(|filter: &Filter| filter.matches(&document.content.fields))
            };
            let candidates = document.chunks.iter().zip(0..).filter_map(|(chunk, number)| {
                Some(Candidate { score: score(chunk.row)?, id, chunk: number, of: document })
            });
            match scope.unit {
                Unit::Chunk => candidates.for_each(|candidate| top.offer(candidate, may_enter)),
                Unit::Document => {
                    candidates.max().into_iter().for_each(|best| top.offer(best, may_enter));
                }
            }
        }
        let hit = |candidate: Candidate<'_, Document>| {
            let Chunk { start, end, .. } = candidate.of.chunks[candidate.chunk as usize];
            Hit {
                document: candidate.id.clone(),
                version: candidate.of.version,
                chunk: candidate.chunk,
                score: candidate.score,
                start,
                end,
                content: Arc::clone(&candidate.of.content),
            }
        };
        top.into_sorted().map(hit).collect()
    }
}

impl Legs for Collection {
    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError> {
        Ok(self.rank(scope, |row| Some(dot(vector, self.rows.get(row)))))
    }

    fn keyword(&self, terms: &[WeightedTerm], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let scores = self.postings.scores(terms, &self.statistics);
        Ok(self.rank(scope, |row| Some(scores[row as usize]).filter(|score| *score > 0.0)))
    }
}
