//! One state of a collection, which never changes: a few parts that make it up, and the two legs
//! that search them.
//!
//! A page makes the next state from it: what the page writes becomes a new part, and what it
//! replaces is marked as dead where it is. Parts are then merged so that each is more than twice
//! as large as the next and at least half alive: there are at most log2(n) + 1 parts of
//! n chunks and documents, and a chunk is copied O(log n) times while a collection grows to that
//! size. So a small page costs little in a large collection: the small parts at the end
//! are merged often, the large ones at the beginning rarely. Answers do not depend on the parts:
//! a chunk's score is computed from that chunk and the epoch's statistics alone, and ties are
//! ordered by document and chunk.

use std::collections::HashMap;
use std::sync::Arc;

use crate::keyword::{Statistics, WeightedTerm};
use crate::plan::{Candidate, Found, Legs, Scope};
use crate::{Content, Epoch, Hit, IndexedDocument, Unit, VectorError};
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use super::dot::dot;
use super::part::{Part, merge};
use super::rank::Top;
use super::segment::{Document, Segment, SegmentBuilder};

/// What the store has of a collection.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The last line of the collection that is applied.
    pub(super) last: Commit,
    /// The state after that line; `None` if the collection does not exist then.
    pub(super) collection: Option<Arc<Collection>>,
}

/// All that the store has.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) entries: HashMap<Name, Entry>,
    /// The commit up to which the whole log is applied.
    pub(super) completed: Commit,
}

#[derive(Clone, Debug)]
pub(super) struct Collection {
    dimensions: usize,
    /// No two have a living document in common.
    parts: Vec<Part>,
    statistics: Arc<Statistics>,
    documents: usize,
    rows: usize,
}

/// How many products of a vector one step adds up.
const COMPONENTS_OF_A_STEP: usize = 16;

/// Where a chunk is.
type Place<'a> = (&'a Segment, &'a Document);

impl Collection {
    pub(super) fn empty(dimensions: usize) -> Self {
        Self::of(SegmentBuilder::new(dimensions).finish(), Arc::default(), dimensions)
    }

    /// A collection of one segment.
    pub(super) fn of(segment: Segment, statistics: Arc<Statistics>, dimensions: usize) -> Self {
        let parts = vec![Part::new(segment)];
        let mut of = Self { dimensions, parts, statistics, documents: 0, rows: 0 };
        of.settle();
        of
    }

    /// The state after a page up to `position`, which writes or deletes (`None`) each of
    /// `changes`: checked documents, sorted by their ids, which are distinct.
    pub(super) fn after(
        &self,
        changes: Vec<(DocumentId, Option<IndexedDocument>)>,
        epoch: Epoch,
        position: Position,
    ) -> Self {
        let mut next = self.clone();
        for (id, _) in &changes {
            // The newest parts are the smallest, and most likely to have what changes again.
            next.parts.iter_mut().rev().any(|part| part.kill(id));
        }
        let mut written = SegmentBuilder::new(self.dimensions);
        for (id, document) in changes {
            if let Some(document) = document {
                written.add(id, document);
            }
        }
        next.parts.push(Part::new(written.finish()));
        next.settle();
        match epoch {
            Epoch::Kept => {}
            Epoch::Rolled => next.statistics = Arc::new(next.take_statistics(position)),
            Epoch::Given(statistics) => next.statistics = statistics,
        }
        next
    }

    /// Merges parts, and counts what is alive.
    fn settle(&mut self) {
        for part in &mut self.parts {
            if part.dead_size() > part.live_size() {
                *part = merge(std::slice::from_ref(part), self.dimensions);
            }
        }
        self.parts.retain(|part| part.live_size() > 0);
        let unbalanced = |pair: &[Part]| pair[0].live_size() <= 2 * pair[1].live_size();
        while let Some(n) = self.parts.windows(2).rposition(unbalanced) {
            let merged = merge(&self.parts[n..n + 2], self.dimensions);
            self.parts.splice(n..n + 2, [merged]);
        }
        self.documents = self.parts.iter().map(Part::live_documents).sum();
        self.rows = self.parts.iter().map(Part::live_rows).sum();
    }

    fn take_statistics(&self, epoch: Position) -> Statistics {
        let mut document_frequency = HashMap::new();
        for part in &self.parts {
            let alive = part.liveness();
            let counts = |row: u32| alive.as_ref().is_none_or(|alive| alive[row as usize]);
            for (term, frequency) in part.segment().frequencies(counts) {
                if frequency > 0 {
                    *document_frequency.entry(Arc::clone(term)).or_insert(0) += frequency;
                }
            }
        }
        Statistics { epoch, chunks: self.rows as u64, document_frequency }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The number of chunks.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn documents(&self) -> usize {
        self.documents
    }

    pub(super) fn shared_statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    pub(super) fn document(&self, id: &DocumentId) -> Option<(Position, Arc<Content>)> {
        let document = self.parts.iter().rev().find_map(|part| part.find(id))?;
        Some((document.version, Arc::clone(&document.content)))
    }

    /// Offers the chunks or documents of `part` in `scope`. A chunk without a score is not found.
    /// To score one takes `steps_of_a_row`.
    fn rank<'a>(
        ranking: &mut Top<'a, Place<'a>>,
        part: &'a Part,
        scope: Scope<'_>,
        steps_of_a_row: u64,
        score: impl Fn(u32) -> Option<f32>,
    ) -> Result<(), VectorError> {
        let segment = part.segment();
        for document in part.documents() {
            scope.budget.pass(1 + document.rows().len() as u64 * steps_of_a_row)?;
            let mut findable = None;
            let mut may_enter = || {
                let (Some(filter), None) = (scope.filter, findable) else {
                    return Ok(findable.unwrap_or(true));
                };
                let matches = filter.matches(&document.content.fields, scope.budget)?;
                findable = Some(matches);
                Ok(matches)
            };
            let mut candidates = document.rows().zip(0..).filter_map(|(row, chunk)| {
                let of = (segment, document);
                Some(Candidate { score: score(row)?, document: &document.id, chunk, of })
            });
            match scope.unit {
                Unit::Chunk => {
                    candidates
                        .try_for_each(|candidate| ranking.offer(candidate, &mut may_enter))?;
                }
                Unit::Document => {
                    if let Some(best) = candidates.max() {
                        ranking.offer(best, may_enter)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Legs for Collection {
    type Of<'a> = Place<'a>;

    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Found<'_, Self>, VectorError> {
        let steps_of_a_row = vector.len().div_ceil(COMPONENTS_OF_A_STEP) as u64;
        let mut ranking = Top::new(scope.depth);
        for part in &self.parts {
            let segment = part.segment();
            let score = |row| Some(dot(vector, segment.vector(row)));
            Self::rank(&mut ranking, part, scope, steps_of_a_row, score)?;
        }
        Ok(ranking.into_sorted())
    }

    fn keyword(
        &self,
        terms: &[WeightedTerm],
        scope: Scope<'_>,
    ) -> Result<Found<'_, Self>, VectorError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let mut ranking = Top::new(scope.depth);
        for part in &self.parts {
            let scores = part.segment().scores(terms, scope.budget)?;
            let score = |row| Some(scores[row as usize]).filter(|score| *score > 0.0);
            Self::rank(&mut ranking, part, scope, 1, score)?;
        }
        Ok(ranking.into_sorted())
    }

    fn hit(candidate: Candidate<'_, Place<'_>>) -> Hit {
        let Candidate { score, chunk, of: (segment, document), .. } = candidate;
        let (start, end) = segment.range(document.rows().start + chunk);
        let (id, version) = (document.id.clone(), document.version);
        let content = Arc::clone(&document.content);
        Hit { document: id, version, chunk, score, start, end, content }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::IndexedChunk;
    use weir_embedding::Embedding;

    /// Document `n` with so many chunks, or deleted.
    fn change((n, chunks): (u32, Option<usize>)) -> (DocumentId, Option<IndexedDocument>) {
        let content = Arc::new(Content::new("x".into(), "{}".into()).unwrap());
        let terms = vec![("wing".into(), 1)];
        let chunk = IndexedChunk { start: 0, end: 1, embedding: Embedding([1.0].into()), terms };
        let document =
            |chunks| IndexedDocument { version: Position(1), content, chunks: vec![chunk; chunks] };
        (DocumentId::new(&format!("{n:04}")).unwrap(), chunks.map(document))
    }

    fn after(
        collection: &Collection,
        changes: impl IntoIterator<Item = (u32, Option<usize>)>,
    ) -> Collection {
        let changes = changes.into_iter().map(change).collect();
        let next = collection.after(changes, Epoch::Kept, Position(1));
        assert_balanced(&next);
        next
    }

    fn assert_balanced(collection: &Collection) {
        let sizes: Vec<_> = collection.parts.iter().map(Part::live_size).collect();
        assert!(sizes.windows(2).all(|pair| pair[0] > 2 * pair[1]), "{sizes:?}");
        assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
        for part in &collection.parts {
            assert!(part.dead_size() <= part.live_size(), "{sizes:?}");
        }
    }

    fn segments(collection: &Collection) -> Vec<*const Segment> {
        collection.parts.iter().map(|part| std::ptr::from_ref(part.segment())).collect()
    }

    #[test]
    fn parts_are_few_however_the_collection_grew() {
        let mut collection = Collection::empty(1);
        for n in 0..1_000 {
            collection = after(&collection, [(n, Some(1))]);
            let bound = (2 * (n + 1)).ilog2() as usize + 1;
            assert!(collection.parts.len() <= bound, "{} at {n}", collection.parts.len());
        }
        assert_eq!((collection.documents(), collection.rows()), (1_000, 1_000));
    }

    #[test]
    fn a_small_page_leaves_large_segments_alone() {
        let large = after(&Collection::empty(1), (0..1_000).map(|n| (n, Some(2))));
        let before = segments(&large);
        let mut collection = large.clone();
        for n in 0..100 {
            collection = after(&collection, [(n, Some(2)), (n + 500, None)]);
            assert_eq!(segments(&collection)[0], before[0], "after {n}");
        }
        assert_eq!((collection.documents(), large.documents()), (900, 1_000));
        // Until most of it is dead.
        let rest = after(&collection, (0..900).map(|n| (n, None)));
        assert_ne!(segments(&rest)[0], before[0]);
        assert_eq!((rest.documents(), rest.parts.len()), (100, 1));
        assert_eq!(after(&rest, (900..1_000).map(|n| (n, None))).parts.len(), 0);
    }

    proptest! {
        #[test]
        fn parts_stay_balanced(
            pages in vec(btree_map(0..60_u32, prop::option::of(0..4_usize), 0..40), 0..30),
        ) {
            let mut collection = Collection::empty(1);
            let mut model = std::collections::BTreeMap::new();
            for page in pages {
                collection = after(&collection, page.clone());
                model.extend(page);
                let alive = model.values().flatten();
                prop_assert_eq!(collection.documents(), alive.clone().count());
                prop_assert_eq!(collection.rows(), alive.sum::<usize>());
            }
        }
    }
}
