//! The distribution of numbers: the least, the greatest, and quantiles between them within 1.6 %. Takes 4 KiB.

use histogram::{Config, Histogram32};
use serde::Serialize;

/// Above 2³⁷, all are in the last bucket.
const BUCKETS: Config = match Config::new(5, 37) {
    Ok(buckets) => buckets,
    Err(_) => panic!("the powers do not fit together"),
};

/// Numbers that were noted.
pub(super) struct Spread {
    buckets: Histogram32,
    least: u64,
    most: u64,
}

/// How numbers are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// The least.
    pub min: u64,
    /// Half of them are no greater.
    pub median: u64,
    /// 99 percent of them are no greater.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { buckets: Histogram32::with_config(&BUCKETS), least: u64::MAX, most: 0 }
    }
}

impl Spread {
    pub(super) fn note(&mut self, number: u64) {
        // Never refused: it is within the last bucket.
        let _ = self.buckets.increment(number.min((1 << BUCKETS.max_value_power()) - 1));
        self.least = self.least.min(number);
        self.most = self.most.max(number);
    }

    /// `None` if nothing was noted.
    pub(super) fn distribution(&self) -> Option<Distribution> {
        let quantile = |share| {
            let bucket = self.buckets.quantile_bucket(share).ok().flatten()?;
            let middle = u64::midpoint(bucket.start(), bucket.end());
            Some(middle.clamp(self.least, self.most))
        };
        Some(Distribution {
            min: self.least,
            median: quantile(0.5)?,
            p99: quantile(0.99)?,
            max: self.most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distributed_as_they_were_noted() {
        let mut spread = Spread::default();
        assert_eq!(spread.distribution(), None);
        spread.note(60_000);
        let one = Distribution { min: 60_000, median: 60_000, p99: 60_000, max: 60_000 };
        assert_eq!(spread.distribution(), Some(one));
        let mut spread = Spread::default();
        (1..=1_000).for_each(|number| spread.note(number));
        spread.note(u64::MAX);
        let Distribution { min, median, p99, max } = spread.distribution().unwrap_or(one);
        assert_eq!((min, max), (1, u64::MAX));
        assert!(median.abs_diff(500) <= 8 && p99.abs_diff(990) <= 16, "{median} {p99}");
    }
}
