//! How long operations took, in memory that does not grow with their number.

use std::time::Duration;

use anyhow::Result;
use histogram::{Config, Histogram};
use serde::Serialize;

/// Microseconds, in buckets no wider than a 128th of what is in them. What takes longer than 2³⁰ µs, which
/// is 18 minutes, is in the last one.
const BUCKETS: Config = match Config::new(7, 30) {
    Ok(buckets) => buckets,
    Err(_) => panic!("the powers do not fit together"),
};
const LONGEST_US: u64 = (1 << BUCKETS.max_value_power()) - 1;

/// Times of one kind of operation.
pub(super) struct Times {
    buckets: Histogram,
    count: u64,
    longest: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: Histogram::with_config(&BUCKETS), count: 0, longest: Duration::ZERO }
    }
}

/// Quantiles in milliseconds. Each is at least the true one, and at most a 128th longer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) -> Result<()> {
        self.buckets.increment((time.as_micros() as u64).min(LONGEST_US))?;
        self.count += 1;
        self.longest = self.longest.max(time);
        Ok(())
    }

    pub(super) fn quantiles(&self) -> Result<Quantiles> {
        let longest_ms = self.longest.as_secs_f64() * 1e3;
        let quantile = |share: f64| -> Result<Option<f64>> {
            let bucket = self.buckets.quantile_bucket(share)?;
            // The end of a bucket can be after the longest time.
            Ok(bucket.map(|bucket| (bucket.end() as f64 / 1e3).min(longest_ms)))
        };
        Ok(Quantiles {
            count: self.count,
            p50_ms: quantile(0.5)?,
            p99_ms: quantile(0.99)?,
            p999_ms: quantile(0.999)?,
            max_ms: (self.count > 0).then_some(longest_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut times = Times::default();
        (1..=1_000).for_each(|ms| times.add(Duration::from_millis(ms)).unwrap());
        let quantiles = times.quantiles().unwrap();
        for (found, exact) in
            [(quantiles.p50_ms, 500.0), (quantiles.p99_ms, 990.0), (quantiles.p999_ms, 999.0)]
        {
            let found = found.unwrap();
            assert!((exact..=exact * (1.0 + 1.0 / 128.0)).contains(&found), "{found} for {exact}");
        }
        assert_eq!((quantiles.count, quantiles.max_ms), (1_000, Some(1_000.0)));
    }

    #[test]
    fn nothing_has_no_quantiles_and_the_longest_is_kept() {
        let mut times = Times::default();
        assert_eq!(times.quantiles().unwrap(), Quantiles::default());
        times.add(Duration::from_secs(5_000)).unwrap();
        assert_eq!(times.quantiles().unwrap().max_ms, Some(5_000_000.0));
    }
}
