//! Which chunks contain a term: the keyword leg's inverted index, by row.

use std::collections::HashMap;
use std::sync::Arc;

use crate::keyword::{Statistics, WeightedTerm};

/// Identifies a term as long as a chunk contains it; afterwards the id is reused.
type TermId = u32;

/// A chunk's terms by id, each with its count, in the order of their texts.
pub(super) type RowTerms = Box<[(TermId, u32)]>;

#[derive(Debug, Default)]
pub(super) struct Postings {
    ids: HashMap<Arc<str>, TermId>,
    lists: Vec<List>,
    free: Vec<TermId>,
    /// The number of terms in each row's chunk, counting repetitions.
    lengths: Vec<u32>,
    /// The sum of `lengths`.
    total_terms: u64,
}

#[derive(Debug)]
struct List {
    term: Arc<str>,
    /// Sorted by row.
    postings: Vec<Posting>,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    row: u32,
    count: u32,
}

impl Postings {
    pub(super) fn insert(&mut self, row: u32, terms: &[(Arc<str>, u32)]) -> RowTerms {
        let length = length(terms.iter().map(|(_, count)| *count));
        if self.lengths.len() <= row as usize {
            self.lengths.resize(row as usize + 1, 0);
        }
        self.lengths[row as usize] = length;
        self.total_terms += u64::from(length);
        let mut post = |(term, count): &(Arc<str>, u32)| {
            let id = self.id(term);
            let postings = &mut self.lists[id as usize].postings;
            let at = postings.partition_point(|posting| posting.row < row);
            postings.insert(at, Posting { row, count: *count });
            (id, *count)
        };
        terms.iter().map(&mut post).collect()
    }

    pub(super) fn remove(&mut self, row: u32, terms: &[(TermId, u32)]) {
        self.total_terms -= u64::from(std::mem::take(&mut self.lengths[row as usize]));
        for (id, _) in terms {
            let list = &mut self.lists[*id as usize];
            if let Ok(at) = list.postings.binary_search_by_key(&row, |posting| posting.row) {
                list.postings.remove(at);
            }
            if list.postings.is_empty() {
                list.postings = Vec::new();
                self.ids.remove(&list.term);
                self.free.push(*id);
            }
        }
    }

    /// The BM25 score of each row; zero if none of `terms` occurs.
    pub(super) fn scores(&self, terms: &[WeightedTerm], statistics: &Statistics) -> Vec<f32> {
        let mut scores = vec![0.0; self.lengths.len()];
        for WeightedTerm { term, weight } in terms {
            let Some(id) = self.ids.get(term) else { continue };
            for Posting { row, count } in &self.lists[*id as usize].postings {
                let row = *row as usize;
                scores[row] += weight * statistics.saturation(*count, self.lengths[row]);
            }
        }
        scores
    }

    pub(super) fn term(&self, id: TermId) -> &Arc<str> {
        &self.lists[id as usize].term
    }

    /// How many chunks each term occurs in.
    pub(super) fn document_frequency(&self) -> HashMap<Arc<str>, u32> {
        let frequency = |id: TermId| self.lists[id as usize].postings.len() as u32;
        self.ids.iter().map(|(term, id)| (Arc::clone(term), frequency(*id))).collect()
    }

    pub(super) fn total_terms(&self) -> u64 {
        self.total_terms
    }

    fn id(&mut self, term: &Arc<str>) -> TermId {
        if let Some(id) = self.ids.get(term) {
            return *id;
        }
        let list = List { term: Arc::clone(term), postings: Vec::new() };
        let id = if let Some(id) = self.free.pop() {
            self.lists[id as usize] = list;
            id
        } else {
            self.lists.push(list);
            self.lists.len() as TermId - 1
        };
        self.ids.insert(Arc::clone(term), id);
        id
    }
}

/// The number of terms in a chunk, counting repetitions.
pub(super) fn length(counts: impl Iterator<Item = u32>) -> u32 {
    counts.fold(0, u32::saturating_add)
}
