//! Medians and spreads of measurements.

/// The median of some values, and how far they are apart: half of them are between `low` and
/// `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Computes the quartiles, which are NaN if there are no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share| quantile(&values, share);
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

/// The middle value, or the mean of the two in the middle. NaN if there are no values.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).median
}

/// The quantile of the sorted values at `share`, interpolated linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand() {
        for (values, expected) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert_eq!(median(values).to_bits(), f64::to_bits(expected));
        }
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn half_of_the_values_are_within_the_spread() {
        let spread = Spread::of([9.0, 1.0, 5.0, 3.0, 7.0]);
        assert_eq!(spread, Spread { low: 3.0, median: 5.0, high: 7.0 });
        let spread = Spread::of([1.0, 2.0]);
        assert_eq!(spread, Spread { low: 1.25, median: 1.5, high: 1.75 });
    }
}
