//! Measures of a ranking against judgements, with binary gains.
//!
//! `ranking` contains document ids, best first, without duplicates. `relevant` is never empty,
//! because the caller leaves out queries without judgements.

use std::collections::HashSet;

/// Normalised discounted cumulative gain of the first `depth` documents (Järvelin and Kekäläinen,
/// 2002): a gain of 1 for each relevant document and a discount of log2(1 + rank), divided by the
/// value for a ranking that begins with all relevant documents.
pub(super) fn ndcg(ranking: &[String], relevant: &HashSet<String>, depth: usize) -> f64 {
    let gain = |index: usize| 1.0 / (index as f64 + 2.0).log2();
    let gained: f64 = found(ranking, relevant, depth).map(gain).sum();
    let ideal: f64 = (0..relevant.len().min(depth)).map(gain).sum();
    gained / ideal
}

/// The share of the relevant documents that are among the first `depth`.
pub(super) fn recall(ranking: &[String], relevant: &HashSet<String>, depth: usize) -> f64 {
    found(ranking, relevant, depth).count() as f64 / relevant.len() as f64
}

/// One divided by the rank of the first relevant document among the first `depth`, or 0.
pub(super) fn reciprocal_rank(ranking: &[String], relevant: &HashSet<String>, depth: usize) -> f64 {
    found(ranking, relevant, depth).next().map_or(0.0, |index| 1.0 / (index as f64 + 1.0))
}

/// The places of the relevant documents, counted from 0.
fn found<'a>(
    ranking: &'a [String],
    relevant: &'a HashSet<String>,
    depth: usize,
) -> impl Iterator<Item = usize> + 'a {
    let first = ranking.iter().take(depth).enumerate();
    first.filter(|(_, id)| relevant.contains(*id)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn set(text: &str) -> HashSet<String> {
        ids(text).into_iter().collect()
    }

    #[track_caller]
    fn assert_close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-12, "{actual} is not {expected}");
    }

    #[test]
    fn ndcg_by_hand() {
        // Relevant at ranks 1 and 3: 1 + 1/log2(4) = 1.5; ideal: 1 + 1/log2(3).
        let ideal = 1.0 + 1.0 / 3_f64.log2();
        for (ranking, relevant, depth, expected) in [
            ("a x b", "a b", 10, 1.5 / ideal),
            ("a b x", "a b", 10, 1.0),
            ("x y z", "a b", 10, 0.0),
            ("", "a", 10, 0.0),
            // Beyond the depth nothing counts, and the ideal stops there too.
            ("a x b", "a b c", 2, 1.0 / ideal),
            ("a b", "a b c d", 2, 1.0),
            // At rank 3 alone: 1/log2(4) of an ideal of 1.
            ("x y a", "a", 10, 0.5),
        ] {
            assert_close(ndcg(&ids(ranking), &set(relevant), depth), expected);
        }
    }

    #[test]
    fn recall_by_hand() {
        for (ranking, relevant, depth, expected) in [
            ("a x b", "a b", 10, 1.0),
            ("a x b", "a b", 2, 0.5),
            ("a x y", "a b c d", 10, 0.25),
            ("x", "a", 10, 0.0),
            ("", "a", 10, 0.0),
        ] {
            assert_close(recall(&ids(ranking), &set(relevant), depth), expected);
        }
    }

    #[test]
    fn reciprocal_rank_by_hand() {
        for (ranking, relevant, depth, expected) in [
            ("a b", "a b", 10, 1.0),
            ("x b a", "a b", 10, 0.5),
            ("x y z a", "a", 10, 0.25),
            ("x y z a", "a", 3, 0.0),
            ("", "a", 10, 0.0),
        ] {
            assert_close(reciprocal_rank(&ids(ranking), &set(relevant), depth), expected);
        }
    }
}
