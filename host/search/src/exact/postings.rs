//! Which chunks of a segment contain a term: the keyword leg's inverted index, by row.
//!
//! A posting holds the term's [`saturation`] in its chunk, which depends on the chunk alone, so
//! that a search multiplies and adds, and merging segments needs neither counts nor lengths.

use std::collections::HashMap;
use std::sync::Arc;

use crate::VectorError;
use crate::budget::Budget;
use crate::keyword::{WeightedTerm, saturation};

/// How many postings one step adds to the scores.
const POSTINGS_OF_A_STEP: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Posting {
    row: u32,
    saturation: f32,
}

/// The postings of each term, sorted by row.
#[derive(Debug, Default)]
pub(super) struct Postings(HashMap<Arc<str>, Box<[Posting]>>);

impl Postings {
    /// The BM25 score of each of `rows` rows; zero if none of `terms` occurs. The scores of a
    /// row are added in the order of `terms`, so that they do not depend on other rows.
    pub(super) fn scores(
        &self,
        terms: &[WeightedTerm],
        rows: usize,
        budget: &Budget,
    ) -> Result<Vec<f32>, VectorError> {
        let mut scores = vec![0.0; rows];
        for WeightedTerm { term, weight } in terms {
            let Some(postings) = self.0.get(term) else { continue };
            budget.take(1 + (postings.len() / POSTINGS_OF_A_STEP) as u64)?;
            for Posting { row, saturation } in postings {
                scores[*row as usize] += weight * saturation;
            }
        }
        Ok(scores)
    }

    /// Each term, with the number of its rows for which `counts` is true.
    pub(super) fn frequencies(
        &self,
        counts: impl Fn(u32) -> bool,
    ) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.0.iter().map(move |(term, postings)| {
            (term, postings.iter().filter(|posting| counts(posting.row)).count() as u32)
        })
    }
}

/// Postings under construction.
#[derive(Debug, Default)]
pub(super) struct PostingsBuilder(HashMap<Arc<str>, Vec<Posting>>);

impl PostingsBuilder {
    /// Adds the terms of a chunk.
    pub(super) fn add(&mut self, row: u32, terms: &[(Arc<str>, u32)]) {
        let length = terms.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        for (term, count) in terms {
            let posting = Posting { row, saturation: saturation(*count, length) };
            self.list(term).push(posting);
        }
    }

    /// Adds `postings`, with the row that `moved` gives for each; without those that it gives
    /// none for.
    pub(super) fn copy(&mut self, postings: &Postings, moved: impl Fn(u32) -> Option<u32>) {
        for (term, list) in &postings.0 {
            let mut kept = list
                .iter()
                .filter_map(|posting| Some(Posting { row: moved(posting.row)?, ..*posting }))
                .peekable();
            if kept.peek().is_some() {
                self.list(term).extend(kept);
            }
        }
    }

    pub(super) fn finish(self) -> Postings {
        let finish = |(term, mut list): (Arc<str>, Vec<Posting>)| {
            // A few sorted runs, which this sort finds and merges.
            list.sort_by_key(|posting| posting.row);
            (term, list.into_boxed_slice())
        };
        Postings(self.0.into_iter().map(finish).collect())
    }

    fn list(&mut self, term: &Arc<str>) -> &mut Vec<Posting> {
        self.0.entry(Arc::clone(term)).or_default()
    }
}
