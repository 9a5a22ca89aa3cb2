//! Asks an engine's legs and makes one answer of them: the same for every engine.
//!
//! [`Plan`] is a query that was checked; [`answer`] runs it on an engine that answers on
//! the calling thread, [`Plan::conclude`] is the rest for one that does not. Left out: how a
//! leg finds its hits, which is the engine's.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use weir_core::name::{DocumentId, Name};
use weir_embedding::Embedding;

use super::filter::Filter;
use super::keyword::{self, Statistics, WeightedTerm};
use super::{Hit, Query, Unit, VectorError};

/// Most of `offset + limit`.
pub const MAX_DEPTH: u32 = 10_000;
/// Most different terms of a query.
pub const MAX_QUERY_TERMS: usize = 1_024;

/// A hybrid search asks each leg for at least so many hits.
const FUSION_DEPTH: usize = 100;
/// The constant of reciprocal rank fusion.
const FUSION_RANK_OFFSET: f64 = 60.0;

/// What a leg may find, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Which documents may be found; all without one.
    pub filter: Option<&'a Filter>,
    /// Whether a document is found once, by its best chunk.
    pub unit: Unit,
    /// Most hits.
    pub depth: usize,
}

/// One collection of an engine, at one position. A leg answers its best hits in
/// [`rank_order`]; with [`Unit::Document`] each document once, by its best chunk.
pub trait Legs {
    /// The statistics that weigh terms.
    fn statistics(&self) -> &Statistics;

    /// The chunks nearest to `vector`, scored by cosine.
    fn dense(&self, vector: &[f32], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError>;

    /// The chunks with any of `terms`, scored by BM25.
    fn keyword(&self, terms: &[WeightedTerm], scope: Scope<'_>) -> Result<Vec<Hit>, VectorError>;
}

/// A query that was checked, its text made terms.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The collection asked.
    pub collection: Name,
    /// The dense leg's vector.
    pub nearest: Option<Embedding>,
    /// The keyword leg's terms; present, and empty, for a text of stop words.
    pub terms: Option<Vec<(Arc<str>, u32)>>,
    filter: Option<Filter>,
    minimum_score: Option<f32>,
    unit: Unit,
    limit: usize,
    offset: usize,
}

impl Plan {
    /// Checks `query` against an engine of vectors of `dimensions` components.
    pub fn new(query: Query, dimensions: usize) -> Result<Self, VectorError> {
        let invalid = |message: String| Err(VectorError::InvalidQuery(message));
        if query.nearest.is_none() && query.text.is_none() {
            return invalid("a query needs a vector, a text or both".into());
        }
        if let Some(Embedding(vector)) = &query.nearest {
            if vector.len() != dimensions {
                let given = vector.len();
                return invalid(format!(
                    "the vector has {given} components, and the collection's have {dimensions}"
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
            return invalid(format!("offset and limit together are over {MAX_DEPTH}"));
        }
        if let Some(filter) = &query.filter {
            filter.validate().map_err(|error| VectorError::InvalidQuery(error.to_string()))?;
        }
        let terms = query.text.as_deref().map(keyword::terms);
        if terms.as_ref().is_some_and(|terms| terms.len() > MAX_QUERY_TERMS) {
            return invalid(format!("the text has over {MAX_QUERY_TERMS} different words"));
        }
        Ok(Self {
            collection: query.collection,
            nearest: query.nearest,
            terms,
            filter: query.filter,
            minimum_score: query.minimum_score,
            unit: query.unit,
            limit: query.limit as usize,
            offset: query.offset as usize,
        })
    }

    /// What each leg of this plan is asked.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        let page = self.offset + self.limit;
        let hybrid = self.nearest.is_some() && self.terms.is_some();
        let depth = if hybrid { page.max(FUSION_DEPTH) } else { page };
        Scope { filter: self.filter.as_ref(), unit: self.unit, depth }
    }

    /// The page of the legs' hits: fused if there are two, with a score of at least the
    /// minimum, from the offset on.
    #[must_use]
    pub fn conclude(&self, dense: Option<Vec<Hit>>, keyword: Option<Vec<Hit>>) -> Vec<Hit> {
        let ranked = match (dense, keyword) {
            (Some(dense), Some(keyword)) => fuse(dense, keyword, self.unit),
            (Some(hits), None) | (None, Some(hits)) => hits,
            (None, None) => Vec::new(),
        };
        let good = |hit: &Hit| self.minimum_score.is_none_or(|minimum| hit.score >= minimum);
        ranked.into_iter().take_while(good).skip(self.offset).take(self.limit).collect()
    }
}

/// Runs `plan` on `legs`.
pub fn answer(plan: &Plan, legs: &impl Legs) -> Result<Vec<Hit>, VectorError> {
    let scope = plan.scope();
    let dense = plan.nearest.as_ref().map(|Embedding(vector)| legs.dense(vector, scope));
    let keyword =
        plan.terms.as_ref().map(|terms| legs.keyword(&legs.statistics().weigh(terms), scope));
    Ok(plan.conclude(dense.transpose()?, keyword.transpose()?))
}

/// Best first: by score, ties by document id, then chunk.
#[must_use]
pub fn rank_order(a: &Hit, b: &Hit) -> Ordering {
    let by_score = b.score.total_cmp(&a.score);
    by_score.then_with(|| a.document.cmp(&b.document)).then_with(|| a.chunk.cmp(&b.chunk))
}

/// Reciprocal rank fusion. A document that both legs found is represented by the dense
/// leg's chunk.
fn fuse(dense: Vec<Hit>, keyword: Vec<Hit>, unit: Unit) -> Vec<Hit> {
    let identity = |hit: &Hit| -> (DocumentId, Option<u32>) {
        (hit.document.clone(), (unit == Unit::Chunk).then_some(hit.chunk))
    };
    let mut fused: HashMap<_, (Hit, f64)> = HashMap::new();
    for leg in [dense, keyword] {
        for (index, hit) in leg.into_iter().enumerate() {
            let rank = index as f64 + 1.0;
            let (_, score) = fused.entry(identity(&hit)).or_insert((hit, 0.0));
            *score += 1.0 / (FUSION_RANK_OFFSET + rank);
        }
    }
    let scored = |(hit, score): (Hit, f64)| Hit { score: score as f32, ..hit };
    let mut hits: Vec<_> = fused.into_values().map(scored).collect();
    hits.sort_unstable_by(rank_order);
    hits
}

#[cfg(test)]
mod tests;
