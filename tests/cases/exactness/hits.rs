//! Compares the hits of an answer with the ranking that the question must get.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::question::Question;
use super::ranking::Candidate;

/// Checks one collection's hits. `candidates` is everything that the question can find there.
///
/// # Errors
/// The hits are wrong.
pub(super) fn check(
    question: &Question,
    candidates: &[Candidate],
    hits: &Value,
) -> Result<(), String> {
    let hits = hits.as_array().ok_or("there is no list of hits")?;
    count(question, candidates, hits.len())?;
    let by_id: BTreeMap<_, _> =
        candidates.iter().map(|candidate| (candidate.id, candidate)).collect();
    let mut found = Vec::new();
    for hit in hits {
        let id = hit["document_id"].as_str().ok_or("a hit has no id")?;
        let Some(candidate) = by_id.get(id) else {
            return Err(format!("'{id}' cannot be found"));
        };
        found.push((*candidate, one(hit, candidate)?));
    }
    order(&found)?;
    places(question, candidates, &found)?;
    ids_decide(question, candidates, &found)
}

/// There are as many hits as there must be.
fn count(question: &Question, candidates: &[Candidate], hits: usize) -> Result<(), String> {
    let certain = candidates.iter().filter(|candidate| candidate.lowest.is_finite()).count();
    let on_page = |all: usize| all.saturating_sub(question.offset).min(question.limit);
    let (least, most) = (on_page(certain), on_page(candidates.len()));
    if (least..=most).contains(&hits) {
        return Ok(());
    }
    Err(format!("{hits} hits instead of {least} to {most}"))
}

/// The hit is the version of the document, with its score. Returns the score.
fn one(hit: &Value, candidate: &Candidate) -> Result<f64, String> {
    let Candidate { id, document, lowest, highest, .. } = candidate;
    let text = &document.text.text;
    if hit["text"] != **text || hit["start"] != 0 || hit["end"] != text.len() {
        return Err(format!("'{id}' has another text"));
    }
    if hit["metadata"] != *document.metadata {
        return Err(format!("'{id}' has other metadata"));
    }
    let score = hit["score"].as_f64().ok_or_else(|| format!("'{id}' has no score"))?;
    if (*lowest..=*highest).contains(&score) {
        return Ok(score);
    }
    Err(format!("'{id}' has the score {score} instead of {lowest} to {highest}"))
}

/// Best first; hits of the same score by id, each once.
fn order(found: &[(&Candidate, f64)]) -> Result<(), String> {
    for pair in found.windows(2) {
        let [(before, higher), (after, lower)] = pair else { continue };
        if higher < lower || (higher == lower && before.id >= after.id) {
            return Err(format!("'{}' ({higher}) before '{}' ({lower})", before.id, after.id));
        }
    }
    let ids: BTreeSet<_> = found.iter().map(|(candidate, _)| candidate.id).collect();
    if ids.len() == found.len() { Ok(()) } else { Err("a document is found twice".to_owned()) }
}

/// The hit at each place has the score of that place, so nothing better was left out. In whatever
/// way the scores lie in their ranges, the nth best of them is between the nth best of the lowest
/// and the nth best of the highest.
fn places(
    question: &Question,
    candidates: &[Candidate],
    found: &[(&Candidate, f64)],
) -> Result<(), String> {
    let sorted = |bound: fn(&Candidate) -> f64| {
        let mut bounds: Vec<_> = candidates.iter().map(bound).collect();
        bounds.sort_by(|a, b| b.total_cmp(a));
        bounds
    };
    let (lowest, highest) =
        (sorted(|candidate| candidate.lowest), sorted(|candidate| candidate.highest));
    for (place, (candidate, score)) in (question.offset..).zip(found) {
        let (least, most) = (lowest[place], highest[place]);
        if !(least..=most).contains(score) {
            return Err(format!(
                "'{}' is at place {} with {score}, which must have {least} to {most}",
                candidate.id,
                place + 1
            ));
        }
    }
    Ok(())
}

/// Of documents that certainly have the same score, those with the first ids are found.
fn ids_decide(
    question: &Question,
    candidates: &[Candidate],
    found: &[(&Candidate, f64)],
) -> Result<(), String> {
    if question.offset > 0 {
        // The others may be on an earlier page.
        return Ok(());
    }
    let ids: BTreeSet<_> = found.iter().map(|(candidate, _)| candidate.id).collect();
    for (candidate, _) in found {
        let first = |other: &&Candidate| {
            other.identity == candidate.identity
                && other.id < candidate.id
                && other.lowest.is_finite()
                && !ids.contains(other.id)
        };
        if let Some(other) = candidates.iter().find(first) {
            return Err(format!("'{}' is found, but not '{}'", candidate.id, other.id));
        }
    }
    Ok(())
}
