//! Quantiles of times, and times as texts.

use std::time::Duration;

/// The nearest-rank quantile of sorted times, which is always one of them.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Milliseconds with one decimal; a dash if there is no time.
pub(crate) fn milliseconds(time: Option<Duration>) -> String {
    let time = time.map(|time| time.as_secs_f64() * 1e3);
    time.map_or("–".to_owned(), |time| format!("{time:.1}"))
}

/// The median and the 99th percentile of sorted times, in milliseconds.
pub(crate) fn median_and_p99(sorted: &[Duration]) -> String {
    let [p50, p99] = [0.5, 0.99].map(|share| milliseconds(quantile(sorted, share)));
    format!("{p50} / {p99}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_not_interpolated() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        for (share, expected) in [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1)] {
            assert_eq!(quantile(&times, share), Some(Duration::from_millis(expected)));
        }
        assert_eq!(quantile(&times[..1], 0.99), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn times_have_one_decimal() {
        assert_eq!(milliseconds(Some(Duration::from_micros(1_260))), "1.3");
        assert_eq!(milliseconds(None), "–");
    }
}
