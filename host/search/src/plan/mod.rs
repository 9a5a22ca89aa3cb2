//! Queries the legs of an engine and combines their answers, the same way for every engine.
//!
//! A [`Plan`] is a validated query. [`answer`] runs it on an engine that answers on the calling
//! thread; for other engines, [`Plan::conclude`] does the last step. Legs find [`Candidate`]s,
//! and only those on the page become hits, since a hybrid search finds many more than it returns.
//! Out of scope: how a leg finds its candidates, which is up to the engine.

mod candidate;

use std::collections::HashMap;
use std::sync::Arc;

use weir_embedding::Embedding;

pub use self::candidate::Candidate;

use super::budget::Budget;
use super::filter::Compiled;
use super::keyword::{self, Statistics, WeightedTerm};
use super::{Hit, Query, Unit, VectorError};

/// The maximum of `offset + limit`.
pub const MAX_DEPTH: u32 = 10_000;
/// The most distinct terms in a query.
pub const MAX_QUERY_TERMS: usize = 1_024;

/// A hybrid search asks each leg for this many candidates, whatever page of the answer is asked for: a
/// deeper leg can move a hit up, so pages of different depths would overlap or have gaps. What
/// neither leg gives does not exist for the fusion: an answer ends after at most twice as many
/// hits, however large `offset` and `limit` are.
///
/// On Cranfield, nDCG@10 is the same with 50 to 400; recall@100 is 0.763 with 50, 0.801 with 100,
/// 0.806 with 200 and 0.804 with 400.
pub const FUSION_DEPTH: usize = 200;
/// The constant of reciprocal rank fusion.
const FUSION_RANK_OFFSET: f64 = 60.0;

/// What a leg must return.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Which documents can be found; `None` allows all.
    pub filter: Option<&'a Compiled>,
    /// Whether documents are found, each by its best chunk, or chunks.
    pub unit: Unit,
    /// The most candidates to return.
    pub depth: usize,
    /// What finding them may cost.
    pub budget: &'a Budget,
}

/// One state of a collection of an engine. A leg returns its best candidates, best first; with
/// [`Unit::Document`] it returns each document once, by its best chunk.
pub trait Legs {
    /// What the engine makes a hit of.
    type Of<'a>
    where
        Self: 'a;

    /// The statistics that weigh terms.
    fn statistics(&self) -> &Statistics;

    /// The chunks nearest to `vector`, scored by cosine.
    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Found<'_, Self>, VectorError>;

    /// The chunks with any of `terms`, scored by BM25.
    fn keyword(
        &self,
        terms: &[WeightedTerm],
        scope: Scope<'_>,
    ) -> Result<Found<'_, Self>, VectorError>;

    /// Makes a hit of a candidate of a leg, whose score may be a fused one.
    fn hit(candidate: Candidate<'_, Self::Of<'_>>) -> Hit;
}

/// What a leg returns.
pub type Found<'a, L> = Vec<Candidate<'a, <L as Legs>::Of<'a>>>;

/// A validated query, with its text turned into terms.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The dense leg's vector.
    pub nearest: Option<Embedding>,
    /// The keyword leg's terms; present but empty if the text has none, such as a text of stop
    /// words.
    pub terms: Option<Vec<(Arc<str>, u32)>>,
    filter: Option<Compiled>,
    minimum_score: Option<f32>,
    unit: Unit,
    limit: usize,
    offset: usize,
}

impl Plan {
    /// Validates `query` against an engine whose vectors have `dimensions` components.
    pub fn new(query: Query, dimensions: usize) -> Result<Self, VectorError> {
        let invalid = |message: String| Err(VectorError::InvalidQuery(message));
        if query.nearest.is_none() && query.text.is_none() {
            return invalid("a query needs a vector, text, or both".into());
        }
        if let Some(Embedding(vector)) = &query.nearest {
            if vector.len() != dimensions {
                let given = vector.len();
                return invalid(format!(
                    "the vector has {given} components, but the collection's have {dimensions}"
                ));
            }
            if !vector.iter().all(|component| component.is_finite()) {
                return invalid("the vector has a component that is not a finite number".into());
            }
        }
        if query.minimum_score.is_some_and(f32::is_nan) {
            return invalid("the minimum score is not a number".into());
        }
        if u64::from(query.offset) + u64::from(query.limit) > u64::from(MAX_DEPTH) {
            return invalid(format!("the sum of offset and limit is over {MAX_DEPTH}"));
        }
        if let Some(filter) = &query.filter {
            filter.validate().map_err(|error| VectorError::InvalidQuery(error.to_string()))?;
        }
        let terms = query.text.as_deref().map(keyword::terms);
        if terms.as_ref().is_some_and(|terms| terms.len() > MAX_QUERY_TERMS) {
            return invalid(format!("the text has over {MAX_QUERY_TERMS} different words"));
        }
        Ok(Self {
            nearest: query.nearest,
            terms,
            filter: query.filter.map(Compiled::new),
            minimum_score: query.minimum_score,
            unit: query.unit,
            limit: query.limit as usize,
            offset: query.offset as usize,
        })
    }

    /// What each leg must return for this plan.
    #[must_use]
    pub fn scope<'a>(&'a self, budget: &'a Budget) -> Scope<'a> {
        let hybrid = self.nearest.is_some() && self.terms.is_some();
        let depth = if hybrid { FUSION_DEPTH } else { self.offset + self.limit };
        Scope { filter: self.filter.as_ref(), unit: self.unit, depth, budget }
    }

    /// Makes the page from what the legs found: fuses it if there are two, and applies the minimum
    /// score, the offset, and the limit.
    pub fn conclude<'a, T>(
        &self,
        dense: Option<Vec<Candidate<'a, T>>>,
        keyword: Option<Vec<Candidate<'a, T>>>,
    ) -> impl Iterator<Item = Candidate<'a, T>> {
        let ranked = match (dense, keyword) {
            (Some(dense), Some(keyword)) => {
                fuse(dense, keyword, self.unit, self.offset + self.limit)
            }
            (Some(found), None) | (None, Some(found)) => found,
            (None, None) => Vec::new(),
        };
        let minimum = self.minimum_score;
        let good = move |candidate: &Candidate<'a, T>| {
            minimum.is_none_or(|minimum| candidate.score >= minimum)
        };
        ranked.into_iter().take_while(good).skip(self.offset).take(self.limit)
    }
}

/// Runs `plan` on `legs`.
///
/// # Errors
/// The budget is used up.
pub fn answer<L: Legs>(plan: &Plan, legs: &L, budget: &Budget) -> Result<Vec<Hit>, VectorError> {
    let scope = plan.scope(budget);
    let dense = plan.nearest.as_ref().map(|Embedding(vector)| legs.dense(vector, scope));
    let keyword =
        plan.terms.as_ref().map(|terms| legs.keyword(&legs.statistics().weigh(terms), scope));
    Ok(plan.conclude(dense.transpose()?, keyword.transpose()?).map(L::hit).collect())
}

/// The best `depth` by reciprocal rank fusion, best first. A document that both legs found is
/// represented by the dense leg's chunk.
fn fuse<'a, T>(
    dense: Vec<Candidate<'a, T>>,
    keyword: Vec<Candidate<'a, T>>,
    unit: Unit,
    depth: usize,
) -> Vec<Candidate<'a, T>> {
    let identity = |candidate: &Candidate<'a, T>| {
        (candidate.document, (unit == Unit::Chunk).then_some(candidate.chunk))
    };
    let share = |index: usize| 1.0 / (FUSION_RANK_OFFSET + index as f64 + 1.0);
    let mut fused = Vec::with_capacity(dense.len() + keyword.len());
    let mut index_of = HashMap::with_capacity(dense.len());
    for (index, candidate) in dense.into_iter().enumerate() {
        index_of.insert(identity(&candidate), index);
        fused.push((candidate, share(index)));
    }
    for (index, candidate) in keyword.into_iter().enumerate() {
        match index_of.get(&identity(&candidate)) {
            Some(found_by_both) => fused[*found_by_both].1 += share(index),
            None => fused.push((candidate, share(index))),
        }
    }
    let scored = |(candidate, score)| Candidate { score: score as f32, ..candidate };
    let mut ranked: Vec<_> = fused.into_iter().map(scored).collect();
    let best_first = |a: &Candidate<'a, T>, b: &Candidate<'a, T>| b.cmp(a);
    // Sorting compares ids wherever scores are equal, so only what is returned is sorted.
    if depth < ranked.len() {
        ranked.select_nth_unstable_by(depth, best_first);
        ranked.truncate(depth);
    }
    ranked.sort_unstable_by(best_first);
    ranked
}

#[cfg(test)]
mod tests;
