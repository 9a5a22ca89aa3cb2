//! Where answers came from, and the hit ratio that follows.
//!
//! It is counted twice: from the `Cache-Status` of each answer, and by the server itself
//! (`GET /health/cache/analytics`). Both must be the same.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::traffic::cache_status::CacheStatus;

/// Answers by what the cache did for them. Requests without an answer are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Tiers {
    pub(crate) memory: u64,
    pub(crate) shared: u64,
    pub(crate) stale: u64,
    pub(crate) collapsed: u64,
    pub(crate) misses: u64,
    pub(crate) bypassed: u64,
}

impl Tiers {
    /// Counts an answer. Returns whether what its `Cache-Status` says can be true of one.
    pub(super) fn add(&mut self, status: CacheStatus) -> bool {
        let count = match status {
            CacheStatus::Memory => &mut self.memory,
            CacheStatus::Shared => &mut self.shared,
            CacheStatus::Stale => &mut self.stale,
            CacheStatus::Collapsed => &mut self.collapsed,
            CacheStatus::Miss => &mut self.misses,
            CacheStatus::Bypass => &mut self.bypassed,
            CacheStatus::Absent | CacheStatus::Failure => return false,
        };
        *count += 1;
        true
    }

    /// What the server counted for a pipeline since it started.
    pub(super) fn in_analytics(analytics: &Value, pipeline: &str) -> Result<Self> {
        let pipelines = analytics["tenants"][0]["query"]["pipelines"].as_array();
        let used = pipelines
            .and_then(|all| all.iter().find(|used| used["pipeline"] == pipeline))
            .with_context(|| format!("the server's analytics do not have `{pipeline}`"))?;
        let number = |value: &Value, name: &str| {
            value.as_u64().with_context(|| format!("the server's analytics have no `{name}`"))
        };
        let sum = |name: &str| -> Result<u64> {
            let reasons = used[name].as_object();
            let reasons = reasons.with_context(|| format!("`{name}` has no reasons"))?;
            reasons.values().map(|count| number(count, name)).sum()
        };
        Ok(Self {
            memory: number(&used["hits"]["memory"], "hits.memory")?,
            shared: number(&used["hits"]["shared"], "hits.shared")?,
            stale: sum("stale")?,
            collapsed: number(&used["collapsed"], "collapsed")?,
            misses: sum("misses")?,
            bypassed: sum("bypassed")?,
        })
    }

    /// What has been added since an earlier count.
    pub(super) fn since(self, before: Self) -> Result<Self> {
        let less = |now: u64, before: u64| {
            now.checked_sub(before).context("the server counted backwards: was it replaced?")
        };
        Ok(Self {
            memory: less(self.memory, before.memory)?,
            shared: less(self.shared, before.shared)?,
            stale: less(self.stale, before.stale)?,
            collapsed: less(self.collapsed, before.collapsed)?,
            misses: less(self.misses, before.misses)?,
            bypassed: less(self.bypassed, before.bypassed)?,
        })
    }

    /// Answers that the cache was asked for.
    pub(crate) fn lookups(self) -> u64 {
        self.memory + self.shared + self.stale + self.collapsed + self.misses
    }

    /// The share of lookups of a count; nothing if there were none.
    pub(crate) fn share(self, count: u64) -> Option<f64> {
        let lookups = self.lookups();
        (lookups > 0).then(|| count as f64 / lookups as f64)
    }

    /// The share of lookups that were hits, in either tier, also with old answers.
    pub(crate) fn hit_ratio(self) -> Option<f64> {
        self.share(self.memory + self.shared + self.stale)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    fn analytics() -> Value {
        let used = |pipeline: &str, memory: u64| {
            json!({
                "pipeline": pipeline,
                "hits": { "memory": memory, "shared": 2 },
                "stale": { "after-change": 1, "on-error": 2 },
                "collapsed": 4,
                "misses": { "absent": 5, "changed": 6 },
                "bypassed": {},
            })
        };
        let pipelines = [used("echo", 1), used("search", 9)];
        json!({ "tenants": [{ "query": { "pipelines": pipelines } }] })
    }

    #[test]
    fn headers_and_analytics_count_the_same_things() {
        let mut counted = Tiers::default();
        for (status, times) in [
            (CacheStatus::Memory, 9),
            (CacheStatus::Shared, 2),
            (CacheStatus::Stale, 3),
            (CacheStatus::Collapsed, 4),
            (CacheStatus::Miss, 11),
        ] {
            (0..times).for_each(|_| assert!(counted.add(status)));
        }
        assert_eq!(Tiers::in_analytics(&analytics(), "search").unwrap(), counted);
        assert!(!counted.add(CacheStatus::Absent) && !counted.add(CacheStatus::Failure));
        assert!(counted.add(CacheStatus::Bypass));
        assert_eq!((counted.lookups(), counted.hit_ratio()), (29, Some(14.0 / 29.0)));
    }

    #[test]
    fn without_lookups_there_is_no_ratio() {
        let bypassed = Tiers { bypassed: 3, ..Tiers::default() };
        assert_eq!((bypassed.lookups(), bypassed.hit_ratio()), (0, None));
    }

    #[test]
    fn counts_are_since_an_earlier_one() {
        let now = Tiers::in_analytics(&analytics(), "search").unwrap();
        let before = Tiers { memory: 8, misses: 11, ..Tiers::default() };
        let since = now.since(before).unwrap();
        assert_eq!((since.memory, since.misses, since.shared), (1, 0, 2));
        before.since(now).unwrap_err();
    }

    #[test]
    fn analytics_without_what_is_needed_are_an_error() {
        Tiers::in_analytics(&analytics(), "other").unwrap_err();
        Tiers::in_analytics(&json!({}), "search").unwrap_err();
        let mut analytics = analytics();
        analytics["tenants"][0]["query"]["pipelines"][1]["misses"] = json!(5);
        Tiers::in_analytics(&analytics, "search").unwrap_err();
    }
}
