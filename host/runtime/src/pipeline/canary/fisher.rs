//! Fisher's exact test, one-sided: how likely a share is to be at least so much larger by chance.
//!
//! Of all ways to divide the runs that have a property among two groups of these sizes, this is the share of
//! those in which the second group has at least as many as it has (Fisher, "The Design of Experiments", 1935;
//! the tail of a hypergeometric distribution). It is exact for groups of any size, and needs no assumption
//! but that a run could as well have been in the other group.

/// Runs, and how many of them have the property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// All runs.
    pub of: u64,
    /// Those with the property.
    pub with: u64,
}

impl Share {
    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.with as f64 / self.of as f64 }
    }
}

/// The probability that `second` has at least as many as it has if both are alike.
#[must_use]
pub fn probability(first: Share, second: Share) -> f64 {
    let (with, all) = (first.with + second.with, first.of + second.of);
    let least = with.saturating_sub(first.of);
    let most = with.min(second.of);
    if second.with <= least || all == 0 {
        return 1.0;
    }
    // Relative to the most likely number, so that nothing overflows, and what underflows does not matter.
    let mode = ((with + 1) as f64 * (second.of + 1) as f64 / (all + 2) as f64) as u64;
    let mode = mode.clamp(least, most);
    // The next term over the one for `count`.
    let up = |count: u64| {
        let chosen = (with - count) as f64 * (second.of - count) as f64;
        let left = (count + 1) as f64 * (first.of + count + 1 - with) as f64;
        chosen / left
    };
    let (mut total, mut tail) = (0.0, 0.0);
    let mut add = |count: u64, term: f64| {
        total += term;
        if count >= second.with {
            tail += term;
        }
    };
    let mut term = 1.0;
    add(mode, term);
    for count in mode..most {
        term *= up(count);
        add(count + 1, term);
        if term < f64::MIN_POSITIVE {
            break;
        }
    }
    let mut term = 1.0;
    for count in (least..mode).rev() {
        term /= up(count);
        add(count, term);
        if term < f64::MIN_POSITIVE {
            break;
        }
    }
    (tail / total).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(with: u64, of: u64) -> Share {
        Share { of, with }
    }

    /// The first is Fisher's tea; all were computed in whole numbers.
    #[test]
    fn known_tables() {
        for (first, second, expected) in [
            (share(1, 4), share(3, 4), 17.0 / 70.0),
            (share(0, 4), share(4, 4), 1.0 / 70.0),
            (share(0, 5), share(5, 5), 1.0 / 252.0),
            (share(2, 4), share(2, 4), 53.0 / 70.0),
            (share(0, 10), share(0, 10), 1.0),
            (share(10, 10), share(10, 10), 1.0),
            (share(0, 0), share(3, 10), 1.0),
        ] {
            let found = probability(first, second);
            assert!((found - expected).abs() < 1e-12, "{first:?} {second:?}: {found}");
        }
    }

    /// The whole distribution, by its definition, for all small tables.
    #[test]
    fn small_tables_are_what_the_definition_says() {
        fn ways(n: u64, k: u64) -> f64 {
            (0..k).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64)
        }
        for first in (0..7).flat_map(|of| (0..=of).map(move |with| share(with, of))) {
            for second in (1..7).flat_map(|of| (0..=of).map(move |with| share(with, of))) {
                let with = first.with + second.with;
                let at_least = second.with..=with.min(second.of);
                let possible = at_least.filter(|count| with - count <= first.of);
                let ended = |count| ways(second.of, count) * ways(first.of, with - count);
                let expected: f64 =
                    possible.map(ended).sum::<f64>() / ways(first.of + second.of, with);
                let found = probability(first, second);
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{first:?} {second:?}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn large_tables_neither_overflow_nor_take_long() {
        let million = 1_000_000;
        assert!(probability(share(100, million), share(100, million)) > 0.4);
        assert!(probability(share(0, million), share(million, million)) < 1e-300);
        assert!(probability(share(million / 10, million), share(million / 5, million)) < 1e-300);
        let slightly = probability(share(1_000, million), share(1_200, million));
        assert!((1e-6..1e-4).contains(&slightly), "{slightly}");
    }
}
